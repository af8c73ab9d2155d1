package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * The inner loops of attention: products of four rows with a panel of columns, dot products and
 * weighted sums of single rows, and the steps of a softmax. What is read many times is in arrays,
 * where an access costs half of what it costs in a segment; keys and values that are read once stay
 * where they are. Runs are whole vectors long.
 */
final class TileLoops {
  /** Rows of a tile; with two vectors of columns its sums and operands fit 16 registers. */
  static final int ROWS = 4;

  /** Columns of a tile. The distance of two rows of a strip must be constant for C2. */
  static final int COLUMNS = 2 * LENGTH;

  private TileLoops() {}

  /**
   * {@code c += a b}.
   *
   * @param a [4, inner] with row step {@code step}
   * @param b [inner, columns] in strips of {@link #COLUMNS}, one after the other
   * @param c [4, columns]
   */
  static void multiply(
      float[] a, int first, int step, float[] b, int columns, int inner, float[] c, int target) {
    for (int j = 0; j < columns; j += COLUMNS) {
      tile(a, first, step, b, j * inner, columns, inner, c, target + j);
    }
  }

  private static void tile(
      float[] a,
      int first,
      int step,
      float[] b,
      int strip,
      int width,
      int inner,
      float[] c,
      int target) {
    int second = first + step;
    int third = second + step;
    int fourth = third + step;
    FloatVector c00 = FloatVector.fromArray(F, c, target);
    FloatVector c01 = FloatVector.fromArray(F, c, target + LENGTH);
    FloatVector c10 = FloatVector.fromArray(F, c, target + width);
    FloatVector c11 = FloatVector.fromArray(F, c, target + width + LENGTH);
    FloatVector c20 = FloatVector.fromArray(F, c, target + 2 * width);
    FloatVector c21 = FloatVector.fromArray(F, c, target + 2 * width + LENGTH);
    FloatVector c30 = FloatVector.fromArray(F, c, target + 3 * width);
    FloatVector c31 = FloatVector.fromArray(F, c, target + 3 * width + LENGTH);
    for (int i = 0; i < inner; i++) {
      FloatVector b0 = FloatVector.fromArray(F, b, strip + i * COLUMNS);
      FloatVector b1 = FloatVector.fromArray(F, b, strip + i * COLUMNS + LENGTH);
      FloatVector a0 = FloatVector.broadcast(F, a[first + i]);
      c00 = a0.fma(b0, c00);
      c01 = a0.fma(b1, c01);
      FloatVector a1 = FloatVector.broadcast(F, a[second + i]);
      c10 = a1.fma(b0, c10);
      c11 = a1.fma(b1, c11);
      FloatVector a2 = FloatVector.broadcast(F, a[third + i]);
      c20 = a2.fma(b0, c20);
      c21 = a2.fma(b1, c21);
      FloatVector a3 = FloatVector.broadcast(F, a[fourth + i]);
      c30 = a3.fma(b0, c30);
      c31 = a3.fma(b1, c31);
    }
    c00.intoArray(c, target);
    c01.intoArray(c, target + LENGTH);
    c10.intoArray(c, target + width);
    c11.intoArray(c, target + width + LENGTH);
    c20.intoArray(c, target + 2 * width);
    c21.intoArray(c, target + 2 * width + LENGTH);
    c30.intoArray(c, target + 3 * width);
    c31.intoArray(c, target + 3 * width + LENGTH);
  }

  /** Products, lane by lane, of one row with each of {@code count} keys, summed over vectors. */
  static void dots(
      float[] row,
      int first,
      MemorySegment keys,
      long key,
      long step,
      int depth,
      int count,
      float[] lanes) {
    for (int j = 0; j < count; j++) {
      dot(row, first, keys, key + j * step, depth, lanes, j * LENGTH);
    }
  }

  private static void dot(
      float[] row, int first, MemorySegment key, long start, int depth, float[] lanes, int at) {
    FloatVector sum = FloatVector.zero(F);
    int d = 0;
    for (; d <= depth - LENGTH; d += LENGTH) {
      FloatVector value = load(key, start + (long) d * Float.BYTES);
      sum = FloatVector.fromArray(F, row, first + d).fma(value, sum);
    }
    if (d < depth) {
      FloatVector value = load(key, start + (long) d * Float.BYTES, Lanes.first(depth - d));
      sum = FloatVector.fromArray(F, row, first + d).fma(value, sum);
    }
    sum.intoArray(lanes, at);
  }

  /** {@code mean[d] += weight[j] * value[j][d]} over {@code count} values. */
  static void addWeighted(
      float[] weights,
      int first,
      MemorySegment values,
      long value,
      long step,
      int depth,
      int count,
      float[] mean,
      int target) {
    int d = 0;
    for (; d <= depth - 2 * LENGTH; d += 2 * LENGTH) {
      long at = value + (long) d * Float.BYTES;
      weighted2(weights, first, values, at, step, count, mean, target + d);
    }
    for (; d < depth; d += LENGTH) {
      VectorMask<Float> mask = Lanes.first(depth - d);
      FloatVector sum = FloatVector.fromArray(F, mean, target + d);
      for (int j = 0; j < count; j++) {
        FloatVector row = load(values, value + j * step + (long) d * Float.BYTES, mask);
        sum = row.fma(FloatVector.broadcast(F, weights[first + j]), sum);
      }
      sum.intoArray(mean, target + d);
    }
  }

  private static void weighted2(
      float[] weights,
      int first,
      MemorySegment values,
      long value,
      long step,
      int count,
      float[] mean,
      int target) {
    FloatVector sum0 = FloatVector.fromArray(F, mean, target);
    FloatVector sum1 = FloatVector.fromArray(F, mean, target + LENGTH);
    for (int j = 0; j < count; j++) {
      long row = value + j * step;
      FloatVector weight = FloatVector.broadcast(F, weights[first + j]);
      sum0 = load(values, row).fma(weight, sum0);
      sum1 = load(values, row + (long) LENGTH * Float.BYTES).fma(weight, sum1);
    }
    sum0.intoArray(mean, target);
    sum1.intoArray(mean, target + LENGTH);
  }

  /** The largest element; NaN if there is one. */
  static float max(float[] x, int first, int n) {
    FloatVector largest = FloatVector.fromArray(F, x, first);
    for (int i = LENGTH; i < n; i += LENGTH) {
      largest = largest.max(FloatVector.fromArray(F, x, first + i));
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** {@code x = x * factor}. */
  static void scale(float[] x, int first, float factor, int n) {
    for (int i = first; i < first + n; i += LENGTH) {
      FloatVector.fromArray(F, x, i).mul(factor).intoArray(x, i);
    }
  }

  /** {@code x = e^(x − shift)} for x that are no larger than the shift. */
  static void weigh(float[] x, int first, float shift, int n) {
    for (int i = first; i < first + n; i += LENGTH) {
      VectorMath.weight(FloatVector.fromArray(F, x, i).sub(shift)).intoArray(x, i);
    }
  }

  /** Σ x: lanes in F32, which are added up in F64. */
  static double sum(float[] x, int first, int n) {
    FloatVector sums = FloatVector.zero(F);
    for (int i = first; i < first + n; i += LENGTH) {
      sums = sums.add(FloatVector.fromArray(F, x, i));
    }
    return Lanes.sum(sums);
  }
}
