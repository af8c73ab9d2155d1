package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.I;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.first;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.loadWide;
import static fqt.tensor.cpu.Lanes.store;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** The inner loops of the row operations: one run of {@code n} F32 at a byte offset. */
final class RowLoops {
  private static final int MAGNITUDE = 0x7fffffff;

  /** The bits of infinity; those of a NaN without its sign are larger. */
  private static final int INFINITE = 0x7f800000;

  private RowLoops() {}

  /** Σ f(x) in F64; f is |x| if {@code absolute}, else x, squared if {@code squared}. */
  static double sum(MemorySegment x, long offset, int n, boolean absolute, boolean squared) {
    int step = Lanes.D.length();
    DoubleVector first = DoubleVector.zero(Lanes.D);
    DoubleVector second = first;
    int i = 0;
    for (; i <= n - 2 * step; i += 2 * step) {
      long at = offset + (long) i * Float.BYTES;
      DoubleVector a = loadWide(x, at);
      DoubleVector b = loadWide(x, at + (long) step * Float.BYTES);
      first = squared ? a.fma(a, first) : first.add(absolute ? a.abs() : a);
      second = squared ? b.fma(b, second) : second.add(absolute ? b.abs() : b);
    }
    double sum = Lanes.sum(first.add(second));
    for (; i < n; i++) {
      double value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      sum += squared ? value * value : absolute ? Math.abs(value) : value;
    }
    return sum;
  }

  /** Σ (x − mean)² in F64. */
  static double squaredDistance(MemorySegment x, long offset, int n, double mean) {
    int step = Lanes.D.length();
    DoubleVector first = DoubleVector.zero(Lanes.D);
    DoubleVector second = first;
    int i = 0;
    for (; i <= n - 2 * step; i += 2 * step) {
      long at = offset + (long) i * Float.BYTES;
      DoubleVector a = loadWide(x, at).sub(mean);
      DoubleVector b = loadWide(x, at + (long) step * Float.BYTES).sub(mean);
      first = a.fma(a, first);
      second = b.fma(b, second);
    }
    double sum = Lanes.sum(first.add(second));
    for (; i < n; i++) {
      double distance = x.get(Element.FLOAT, offset + (long) i * Float.BYTES) - mean;
      sum += distance * distance;
    }
    return sum;
  }

  /** Σ (a − b)² over the places {@code from} to {@code end}, in F64. */
  static double squaredDistance(float[] a, float[] b, int from, int end) {
    int step = Lanes.D.length();
    DoubleVector sums = DoubleVector.zero(Lanes.D);
    int i = from;
    for (; i <= end - step; i += step) {
      FloatVector other = FloatVector.fromArray(Lanes.HALF, b, i);
      FloatVector distance = FloatVector.fromArray(Lanes.HALF, a, i).sub(other);
      DoubleVector wide = (DoubleVector) distance.convertShape(VectorOperators.F2D, Lanes.D, 0);
      sums = wide.fma(wide, sums);
    }
    double sum = end - from < step ? 0 : Lanes.sum(sums);
    for (; i < end; i++) {
      double distance = a[i] - b[i];
      sum += distance * distance;
    }
    return sum;
  }

  /** The smallest and the largest of some elements; both NaN if one is; ∞ and −∞ of none. */
  record Range(float min, float max) {}

  /**
   * The range of a run. Floats are compared as integers, for which a processor has single
   * instructions where Java's order of floats takes many: positive ones have the order of their
   * bits, negative ones the reverse, and NaN is whatever is beyond infinity.
   */
  static Range range(MemorySegment x, long offset, int n) {
    IntVector smallest = IntVector.broadcast(I, INFINITE);
    IntVector largest = IntVector.broadcast(I, ~INFINITE);
    IntVector magnitude = IntVector.zero(I);
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      IntVector bits = load(x, offset + (long) i * Float.BYTES).reinterpretAsInts();
      IntVector order =
          bits.lanewise(VectorOperators.ASHR, 31)
              .and(MAGNITUDE)
              .lanewise(VectorOperators.XOR, bits);
      smallest = smallest.min(order);
      largest = largest.max(order);
      magnitude = magnitude.max(bits.and(MAGNITUDE));
    }
    boolean nan = magnitude.reduceLanes(VectorOperators.MAX) > INFINITE;
    float min = nan ? Float.NaN : inOrder(smallest.reduceLanes(VectorOperators.MIN));
    float max = nan ? Float.NaN : inOrder(largest.reduceLanes(VectorOperators.MAX));
    for (; i < n; i++) {
      float value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
    return new Range(min, max);
  }

  private static float inOrder(int order) {
    return Float.intBitsToFloat(order >> 31 & MAGNITUDE ^ order);
  }

  /** The largest element; NaN if there is one; −∞ of none. */
  static float max(MemorySegment x, long offset, int n) {
    return range(x, offset, n).max();
  }

  /** The largest magnitude; NaN if there is one; 0 of none. */
  static float maxAbs(MemorySegment x, long offset, int n) {
    IntVector largest = IntVector.zero(I);
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      IntVector bits = load(x, offset + (long) i * Float.BYTES).reinterpretAsInts();
      largest = largest.max(bits.and(MAGNITUDE));
    }
    float max = Float.intBitsToFloat(largest.reduceLanes(VectorOperators.MAX));
    for (; i < n; i++) {
      max = Math.max(max, Math.abs(x.get(Element.FLOAT, offset + (long) i * Float.BYTES)));
    }
    return max;
  }

  /**
   * {@code out = e^(x − shift)} by way of a buffer of whole vectors; nothing is written if out is
   * null.
   *
   * @return the sum, made in F64: beside a 1 many small terms would be lost in F32
   */
  static double exp(
      MemorySegment x, long offset, float shift, MemorySegment out, int n, float[] buffer) {
    double sum = 0;
    for (int i = 0; i < n; i += buffer.length) {
      long at = offset + (long) i * Float.BYTES;
      int length = Math.min(buffer.length, n - i);
      MemorySegment.copy(x, Element.FLOAT, at, buffer, 0, length);
      subtract(buffer, shift, length);
      VectorMath.exp(buffer, length);
      sum += sum(buffer, length);
      if (out != null) {
        MemorySegment.copy(buffer, 0, out, Element.FLOAT, at, length);
      }
    }
    return sum;
  }

  private static void subtract(float[] x, float shift, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector.fromArray(F, x, i).sub(shift).intoArray(x, i);
    }
  }

  private static double sum(float[] x, int n) {
    int step = Lanes.D.length();
    DoubleVector first = DoubleVector.zero(Lanes.D);
    DoubleVector second = first;
    int i = 0;
    for (; i <= n - 2 * step; i += 2 * step) {
      FloatVector a = FloatVector.fromArray(Lanes.HALF, x, i);
      FloatVector b = FloatVector.fromArray(Lanes.HALF, x, i + step);
      first = first.add(a.convertShape(VectorOperators.F2D, Lanes.D, 0));
      second = second.add(b.convertShape(VectorOperators.F2D, Lanes.D, 0));
    }
    double sum = Lanes.sum(first.add(second));
    for (; i < n; i++) {
      sum += x[i];
    }
    return sum;
  }

  /** {@code x = x * factor}. */
  static void scale(MemorySegment x, long offset, float factor, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = offset + (long) i * Float.BYTES;
      store(load(x, at).mul(factor), x, at);
    }
    for (; i < n; i++) {
      long at = offset + (long) i * Float.BYTES;
      x.set(Element.FLOAT, at, x.get(Element.FLOAT, at) * factor);
    }
  }

  /** {@code out = x * factor * weight}. */
  static void scale(
      MemorySegment x, long offset, float factor, float[] weight, MemorySegment out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = offset + (long) i * Float.BYTES;
      store(load(x, at).mul(factor).mul(FloatVector.fromArray(F, weight, i)), out, at);
    }
    for (; i < n; i++) {
      long at = offset + (long) i * Float.BYTES;
      out.set(Element.FLOAT, at, x.get(Element.FLOAT, at) * factor * weight[i]);
    }
  }

  /** {@code out = (x − mean) * factor * weight + bias}. */
  static void normalize(
      MemorySegment x,
      long offset,
      float mean,
      float factor,
      float[] weight,
      float[] bias,
      MemorySegment out,
      int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = offset + (long) i * Float.BYTES;
      FloatVector value = load(x, at).sub(mean).mul(factor);
      FloatVector shift = FloatVector.fromArray(F, bias, i);
      store(value.fma(FloatVector.fromArray(F, weight, i), shift), out, at);
    }
    for (; i < n; i++) {
      long at = offset + (long) i * Float.BYTES;
      float value = (x.get(Element.FLOAT, at) - mean) * factor;
      out.set(Element.FLOAT, at, Math.fma(value, weight[i], bias[i]));
    }
  }

  /** {@code out += factor * x}. */
  static void addScaled(
      MemorySegment x, long offset, float factor, MemorySegment out, long target, int n) {
    FloatVector factors = FloatVector.broadcast(F, factor);
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(x, offset + at).fma(factors, load(out, target + at)), out, target + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector sum = load(x, offset + at, tail).fma(factors, load(out, target + at, tail));
      store(sum, out, target + at, tail);
    }
  }
}
