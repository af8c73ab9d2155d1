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
  private UnaryLoops() {}

  /** {@code out[0..n) = op(x[0..n))}; x and out are byte offsets into their segments. */
  static void run(UnaryOp op, MemorySegment from, long x, MemorySegment to, long out, int n) {
    switch (op) {
      case ABS -> abs(from, x, to, out, n);
      case EXP -> exp(from, x, to, out, n);
      case SQRT -> sqrt(from, x, to, out, n);
      case SIGMOID -> sigmoid(from, x, to, out, n);
      case SILU -> silu(from, x, to, out, n);
      case GELU -> gelu(from, x, to, out, n);
      case GELU_TANH -> geluTanh(from, x, to, out, n);
      case QUICK_GELU -> quickGelu(from, x, to, out, n);
      case RELU -> relu(from, x, to, out, n);
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

  private static void exp(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(
          VectorMath.exp(load(from, x + (long) i * Float.BYTES)), to, out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(VectorMath.exp(value), to, out + (long) i * Float.BYTES, tail);
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

  private static void sigmoid(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(
          VectorMath.sigmoid(load(from, x + (long) i * Float.BYTES)),
          to,
          out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(VectorMath.sigmoid(value), to, out + (long) i * Float.BYTES, tail);
    }
  }

  private static void silu(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(
          VectorMath.silu(load(from, x + (long) i * Float.BYTES)),
          to,
          out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(VectorMath.silu(value), to, out + (long) i * Float.BYTES, tail);
    }
  }

  private static void gelu(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(
          VectorMath.gelu(load(from, x + (long) i * Float.BYTES)),
          to,
          out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(VectorMath.gelu(value), to, out + (long) i * Float.BYTES, tail);
    }
  }

  private static void geluTanh(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(
          VectorMath.geluTanh(load(from, x + (long) i * Float.BYTES)),
          to,
          out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(VectorMath.geluTanh(value), to, out + (long) i * Float.BYTES, tail);
    }
  }

  private static void quickGelu(MemorySegment from, long x, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      store(
          VectorMath.quickGelu(load(from, x + (long) i * Float.BYTES)),
          to,
          out + (long) i * Float.BYTES);
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(from, x + (long) i * Float.BYTES, tail);
      store(VectorMath.quickGelu(value), to, out + (long) i * Float.BYTES, tail);
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
