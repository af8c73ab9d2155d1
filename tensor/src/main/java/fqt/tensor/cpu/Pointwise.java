package fqt.tensor.cpu;

import fqt.tensor.BinaryOp;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import fqt.tensor.cpu.asm.GateKernel;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** Operations element by element, shared out over the threads in pieces that fit a cache. */
final class Pointwise {
  private static final long GRAIN = 1 << 15;
  private static final int CHUNK = Carrier.CAPACITY;

  private Pointwise() {}

  static void binary(Threads threads, BinaryOp op, Tensor a, Tensor b, Tensor out) {
    MemorySegment left = a.segment();
    MemorySegment right = b.segment();
    MemorySegment to = out.segment();
    long period = b.count();
    if (period == a.count()) {
      threads.forEach(
          period,
          GRAIN,
          (from, end) -> {
            long at = from * Float.BYTES;
            BinaryLoops.run(op, left, at, right, at, to, at, (int) (end - from));
          });
      return;
    }
    int columns = Math.toIntExact(period);
    threads.forEach(
        a.count() / period,
        rowsAtOnce(columns),
        (from, end) -> {
          for (long m = from; m < end; m++) {
            long at = m * columns * Float.BYTES;
            BinaryLoops.run(op, left, at, right, 0, to, at, columns);
          }
        });
  }

  static void unary(Threads threads, RowKernels kernels, UnaryOp op, Tensor x, Tensor out) {
    MemorySegment bytes = x.segment();
    MemorySegment to = out.segment();
    if (kernels != null && kernels.serves(op)) {
      gate(threads, kernels.gate(op), bytes, null, to, x.count());
      return;
    }
    threads.forEach(
        x.count(),
        GRAIN,
        (from, end) -> {
          long at = from * Float.BYTES;
          new UnaryLoops().run(op, bytes, at, to, at, (int) (end - from));
        });
  }

  static void affine(Threads threads, Tensor x, float scale, float shift, Tensor out) {
    MemorySegment bytes = x.segment();
    MemorySegment to = out.segment();
    threads.forEach(
        x.count(),
        GRAIN,
        (from, end) -> affine(bytes, to, from * Float.BYTES, (int) (end - from), scale, shift));
  }

  private static void affine(
      MemorySegment x, MemorySegment out, long offset, int n, float scale, float shift) {
    FloatVector factor = FloatVector.broadcast(Lanes.F, scale);
    FloatVector addend = FloatVector.broadcast(Lanes.F, shift);
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      long at = offset + (long) i * Float.BYTES;
      Lanes.store(Lanes.load(x, at).fma(factor, addend), out, at);
    }
    if (i < n) {
      long at = offset + (long) i * Float.BYTES;
      VectorMask<Float> tail = Lanes.first(n - i);
      Lanes.store(Lanes.load(x, at, tail).fma(factor, addend), out, at, tail);
    }
  }

  /** The activation of a chunk is still in the first-level cache when it is multiplied. */
  static void gated(
      Threads threads, RowKernels kernels, UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    MemorySegment gates = gate.segment();
    MemorySegment ups = up.segment();
    MemorySegment to = out.segment();
    if (kernels != null && kernels.serves(op)) {
      gate(threads, kernels.gate(op), gates, ups, to, gate.count());
      return;
    }
    threads.forEach(
        gate.count(),
        GRAIN,
        (from, end) -> {
          UnaryLoops loops = new UnaryLoops();
          for (long i = from; i < end; i += CHUNK) {
            long at = i * Float.BYTES;
            int n = (int) Math.min(CHUNK, end - i);
            loops.run(op, gates, at, to, at, n);
            BinaryLoops.run(BinaryOp.MULTIPLY, to, at, ups, at, to, at, n);
          }
        });
  }

  /** An activation by machine code, times up unless that is null. */
  private static void gate(
      Threads threads,
      GateKernel kernel,
      MemorySegment x,
      MemorySegment up,
      MemorySegment out,
      long count) {
    threads.forEach(
        count,
        GRAIN,
        (from, end) ->
            MachineRows.gate(kernel, x, up, out, from * Float.BYTES, (int) (end - from)));
  }

  /** How many rows of a matrix make a piece of work for one thread. */
  static long rowsAtOnce(long columns) {
    return Math.max(1, GRAIN / Math.max(1, columns));
  }
}
