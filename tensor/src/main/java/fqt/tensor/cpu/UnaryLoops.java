package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.first;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.UnaryOp;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * The loops of the unary operations over runs of F32. One small loop each: C2 compiles a small loop
 * over vectors well, and a loop that chooses its operation inside not reliably.
 */
final class UnaryLoops {
  private final Activations activations = new Activations();

  /** {@code out[0..n) = op(x[0..n))}; x and out are byte offsets into their segments. */
  void run(UnaryOp op, MemorySegment from, long x, MemorySegment to, long out, int n) {
    switch (op) {
      case ABS -> abs(from, x, to, out, n);
      case SQRT -> sqrt(from, x, to, out, n);
      case RELU -> relu(from, x, to, out, n);
      case EXP, SIGMOID, SILU, GELU, GELU_TANH, QUICK_GELU ->
          activations.run(op, from, x, to, out, n);
    }
  }

  private static void abs(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(load(from, x + (long) i * Float.BYTES).abs(), to, out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(value.abs(), to, out + (long) i * Float.BYTES, tail);
    }
  }

  private static void sqrt(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(load(from, x + (long) i * Float.BYTES).sqrt(), to, out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(value.sqrt(), to, out + (long) i * Float.BYTES, tail);
    }
  }

  private static void relu(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(load(from, x + (long) i * Float.BYTES).max(0f), to, out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(value.max(0f), to, out + (long) i * Float.BYTES, tail);
    }
  }
}
