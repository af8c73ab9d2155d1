package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.first;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.loadWide;
import static fqt.tensor.cpu.Lanes.store;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** The inner loops of the row operations: one run of {@code n} F32 at a byte offset. */
final class RowLoops {
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
    DoubleVector sums = DoubleVector.zero(Lanes.D);
    int i = 0;
    for (; i <= n - step; i += step) {
      DoubleVector distance = loadWide(x, offset + (long) i * Float.BYTES).sub(mean);
      sums = distance.fma(distance, sums);
    }
    double sum = Lanes.sum(sums);
    for (; i < n; i++) {
      double distance = x.get(Element.FLOAT, offset + (long) i * Float.BYTES) - mean;
      sum += distance * distance;
    }
    return sum;
  }

  /** The largest element; NaN if there is one; −∞ of none. */
  static float max(MemorySegment x, long offset, int n) {
    FloatVector largest = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      largest = largest.max(load(x, offset + (long) i * Float.BYTES));
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(x, offset + (long) i * Float.BYTES, tail);
      largest = largest.max(largest.blend(value, tail));
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** The smallest element; NaN if there is one; +∞ of none. */
  static float min(MemorySegment x, long offset, int n) {
    FloatVector smallest = FloatVector.broadcast(F, Float.POSITIVE_INFINITY);
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      smallest = smallest.min(load(x, offset + (long) i * Float.BYTES));
    }
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(x, offset + (long) i * Float.BYTES, tail);
      smallest = smallest.min(smallest.blend(value, tail));
    }
    return smallest.reduceLanes(VectorOperators.MIN);
  }

  /** The largest magnitude; NaN if there is one; 0 of none. */
  static float maxAbs(MemorySegment x, long offset, int n) {
    FloatVector largest = FloatVector.zero(F);
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      largest = largest.max(load(x, offset + (long) i * Float.BYTES).abs());
    }
    if (i < n) {
      largest = largest.max(load(x, offset + (long) i * Float.BYTES, first(n - i)).abs());
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** Σ e^(x − shift), added up in F64: beside a 1 many small terms would be lost in F32. */
  static double sumExp(MemorySegment x, long offset, int n, float shift) {
    DoubleVector lower = DoubleVector.zero(Lanes.D);
    DoubleVector upper = lower;
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      FloatVector value = VectorMath.exp(load(x, offset + (long) i * Float.BYTES).sub(shift));
      lower = lower.add(value.convertShape(VectorOperators.F2D, Lanes.D, 0));
      upper = upper.add(value.convertShape(VectorOperators.F2D, Lanes.D, 1));
    }
    double sum = Lanes.sum(lower.add(upper));
    if (i < n) {
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(x, offset + (long) i * Float.BYTES, tail);
      sum += Lanes.sum(FloatVector.zero(F).blend(VectorMath.exp(value.sub(shift)), tail));
    }
    return sum;
  }

  /** {@code out = e^(x − shift) * factor}. */
  static void scaledExp(
      MemorySegment x, long offset, MemorySegment out, int n, float shift, float factor) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = offset + (long) i * Float.BYTES;
      store(VectorMath.exp(load(x, at).sub(shift)).mul(factor), out, at);
    }
    if (i < n) {
      long at = offset + (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      store(VectorMath.exp(load(x, at, tail).sub(shift)).mul(factor), out, at, tail);
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
