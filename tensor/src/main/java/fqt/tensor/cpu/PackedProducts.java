package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.cpu.asm.DotKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Products of a few rows with a weight of 4-bit or 8-bit codes, which are multiplied as integers:
 * {@link WholeNumbers} says how precise x stays. The sum of a row of the weight is the same bits
 * wherever ranges of rows begin and end.
 */
final class PackedProducts {
  /** Bytes of codes in a range that is worth waking a thread for. */
  private static final long LEAST_RANGE = 1 << 15;

  /** Ranges for each thread, so that one which is held up leaves work to the others. */
  private static final long RANGES = 4;

  private final Threads threads;
  private final DotKernels kernels;
  private final Scratch scratch = new Scratch();

  PackedProducts(Threads threads, DotKernels kernels) {
    this.threads = threads;
    this.kernels = kernels;
  }

  /** Whether {@link #multiply} can multiply these. */
  static boolean serves(Operand x, PackedWeight w) {
    return x.outer() <= Streaming.MOST_ROWS
        && (w.bits() == 4 || w.bits() == 8)
        && w.groupIndex() == null
        && DotKernels.codeGroup(w.groupSize(), w.columns()) > 0;
  }

  /**
   * {@code out = x wᵀ + bias}.
   *
   * @return whether x is finite everywhere; if not, nothing was done
   */
  boolean multiply(Operand.Strided x, PackedWeight w, Result out) {
    CodeKernels codes = kernels.codes(w, x.type() == DType.F32 ? 3 : 2);
    int rows = (int) x.outer();
    int groups = Math.toIntExact(x.inner() / codes.layout().group());
    MemorySegment memory = scratch.take(WholeNumbers.bytes(codes.layout(), rows, groups));
    WholeNumbers numbers = new WholeNumbers(codes.layout(), rows, groups, memory);
    Operand.Strided readable = readable(x);
    try {
      boolean finite = numbers.fill(codes, readable);
      if (finite) {
        Call call = new Call(codes, numbers, w, out);
        threads.forEach(w.rows(), grain(call), call::range);
      }
      return finite;
    } finally {
      // The kernels know addresses only.
      Reference.reachabilityFence(readable);
      Reference.reachabilityFence(w);
      Reference.reachabilityFence(out);
      scratch.give(memory);
    }
  }

  /** The same numbers as the kernels read them. */
  private static Operand.Strided readable(Operand.Strided x) {
    if (x.innerStride() == 1 && CodeKernels.reads(x.type())) {
      return x;
    }
    int depth = Math.toIntExact(x.inner());
    MemorySegment copy = Arena.ofAuto().allocate(x.outer() * depth * Float.BYTES, Float.BYTES);
    float[] line = new float[depth];
    for (long m = 0; m < x.outer(); m++) {
      x.readInner(m, 0, depth, line, 0);
      FloatRuns.write(line, 0, depth, copy, m * depth);
    }
    return new Operand.Strided(DType.F32, copy, 0, x.outer(), depth, depth, 1);
  }

  /** Rows of the weight in a range: whole groups of streams, all of them for a single thread. */
  private long grain(Call call) {
    long rows = call.w.rows();
    if (threads.count() == 1) {
      return rows;
    }
    long least = LEAST_RANGE / (call.rowBytes() * call.x.rows());
    long grain = Math.max(least, Math.ceilDiv(rows, RANGES * threads.count()));
    return Math.ceilDiv(Math.max(1, grain), DotKernel.GROUP) * DotKernel.GROUP;
  }

  /** What all ranges of one product share. */
  private record Call(CodeKernels kernels, WholeNumbers x, PackedWeight w, Result out) {
    long rowBytes() {
      return w.columns() * w.bits() / Byte.SIZE;
    }

    /**
     * Rows of each of four streams that are multiplied at a time: a single row of x passes but
     * once, so that it takes more of them, whose scales still fit into the nearest cache.
     */
    int blockRows() {
      return (x.rows() == 1 ? 4 : 1) * Streaming.blockRows(rowBytes()) / DotKernel.GROUP;
    }

    /** The sums of some rows of the weight: of four quarters of them at the same time. */
    void range(long from, long to) {
      int count = (int) (to - from);
      int quarter = count / DotKernel.GROUP;
      int block = Math.max(1, Math.min(quarter, blockRows()));
      CodeRecords records = new CodeRecords(kernels, w, x, DotKernel.GROUP * block);
      try {
        for (int n = 0; n < quarter; n += block) {
          block(from + n, quarter, Math.min(block, quarter - n), records);
        }
        for (long row = from + DotKernel.GROUP * (long) quarter; row < to; row++) {
          // The same row four times: of the weight nothing is read that is not there.
          for (int m = 0; m < x.rows(); m++) {
            records.read(row, 1, 0, m);
            multiply(m, row, 0, 1, records);
          }
        }
      } finally {
        Reference.reachabilityFence(records);
      }
      for (int m = 0; m < x.rows(); m++) {
        out.addBias(m, (int) from, count);
      }
    }

    private void block(long row, int quarter, int count, CodeRecords records) {
      for (int m = 0; m < x.rows(); m++) {
        for (int stream = 0; stream < DotKernel.GROUP; stream++) {
          records.read(row + (long) stream * quarter, count, stream * count, m);
        }
        multiply(m, row, quarter, count, records);
      }
    }

    /** {@code distance} in rows: from a stream to the next, 0 for the same row four times. */
    private void multiply(int m, long row, int distance, int count, CodeRecords records) {
      long stride = rowBytes();
      MemorySegment codes = w.codes().storage().segment();
      kernels
          .dots()
          .multiply(
              x.groups(),
              count,
              x.table(m),
              codes.address() + w.codes().offset() * Integer.BYTES + row * stride,
              distance * stride,
              out.at(m, row),
              (long) distance * Float.BYTES,
              records.address(),
              distance == 0 ? 0 : count * records.recordBytes());
    }
  }
}
