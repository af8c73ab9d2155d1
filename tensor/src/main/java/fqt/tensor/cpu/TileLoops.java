package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * The inner loops of attention: products of four rows with a panel of columns, and dot products and
 * weighted sums of single rows. Offsets and steps are in bytes.
 */
final class TileLoops {
  /** Rows of a tile; with two vectors of columns its sums and operands fit 16 registers. */
  static final int ROWS = 4;

  private TileLoops() {}

  /** {@code c += a b}: a [4, inner] with row step {@code step}, b [inner, columns], c like b. */
  static void multiply(
      MemorySegment a,
      long first,
      long step,
      MemorySegment b,
      long panel,
      int columns,
      int inner,
      MemorySegment c,
      long target) {
    long width = (long) columns * Float.BYTES;
    int j = 0;
    for (; j <= columns - 2 * LENGTH; j += 2 * LENGTH) {
      long at = (long) j * Float.BYTES;
      tile4x2(a, first, step, b, panel + at, width, inner, c, target + at);
    }
    for (; j < columns; j += LENGTH) {
      long at = (long) j * Float.BYTES;
      tile4x1(a, first, step, b, panel + at, width, inner, c, target + at);
    }
  }

  private static void tile4x2(
      MemorySegment a,
      long first,
      long step,
      MemorySegment b,
      long panel,
      long width,
      int inner,
      MemorySegment c,
      long target) {
    long v = (long) LENGTH * Float.BYTES;
    FloatVector c00 = load(c, target);
    FloatVector c01 = load(c, target + v);
    FloatVector c10 = load(c, target + width);
    FloatVector c11 = load(c, target + width + v);
    FloatVector c20 = load(c, target + 2 * width);
    FloatVector c21 = load(c, target + 2 * width + v);
    FloatVector c30 = load(c, target + 3 * width);
    FloatVector c31 = load(c, target + 3 * width + v);
    for (int i = 0; i < inner; i++) {
      long row = panel + i * width;
      long at = first + (long) i * Float.BYTES;
      FloatVector b0 = load(b, row);
      FloatVector b1 = load(b, row + v);
      FloatVector a0 = FloatVector.broadcast(F, a.get(Element.FLOAT, at));
      c00 = a0.fma(b0, c00);
      c01 = a0.fma(b1, c01);
      FloatVector a1 = FloatVector.broadcast(F, a.get(Element.FLOAT, at + step));
      c10 = a1.fma(b0, c10);
      c11 = a1.fma(b1, c11);
      FloatVector a2 = FloatVector.broadcast(F, a.get(Element.FLOAT, at + 2 * step));
      c20 = a2.fma(b0, c20);
      c21 = a2.fma(b1, c21);
      FloatVector a3 = FloatVector.broadcast(F, a.get(Element.FLOAT, at + 3 * step));
      c30 = a3.fma(b0, c30);
      c31 = a3.fma(b1, c31);
    }
    store(c00, c, target);
    store(c01, c, target + v);
    store(c10, c, target + width);
    store(c11, c, target + width + v);
    store(c20, c, target + 2 * width);
    store(c21, c, target + 2 * width + v);
    store(c30, c, target + 3 * width);
    store(c31, c, target + 3 * width + v);
  }

  private static void tile4x1(
      MemorySegment a,
      long first,
      long step,
      MemorySegment b,
      long panel,
      long width,
      int inner,
      MemorySegment c,
      long target) {
    FloatVector c00 = load(c, target);
    FloatVector c10 = load(c, target + width);
    FloatVector c20 = load(c, target + 2 * width);
    FloatVector c30 = load(c, target + 3 * width);
    for (int i = 0; i < inner; i++) {
      long row = panel + i * width;
      long at = first + (long) i * Float.BYTES;
      FloatVector b0 = load(b, row);
      FloatVector a0 = FloatVector.broadcast(F, a.get(Element.FLOAT, at));
      c00 = a0.fma(b0, c00);
      FloatVector a1 = FloatVector.broadcast(F, a.get(Element.FLOAT, at + step));
      c10 = a1.fma(b0, c10);
      FloatVector a2 = FloatVector.broadcast(F, a.get(Element.FLOAT, at + 2 * step));
      c20 = a2.fma(b0, c20);
      FloatVector a3 = FloatVector.broadcast(F, a.get(Element.FLOAT, at + 3 * step));
      c30 = a3.fma(b0, c30);
    }
    store(c00, c, target);
    store(c10, c, target + width);
    store(c20, c, target + 2 * width);
    store(c30, c, target + 3 * width);
  }

  /** Products, lane by lane, of one row with each of {@code count} keys, summed over vectors. */
  static void dots(
      MemorySegment row,
      long first,
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
      MemorySegment row, long a, MemorySegment key, long b, int depth, float[] lanes, int at) {
    FloatVector sum = FloatVector.zero(F);
    int d = 0;
    for (; d <= depth - LENGTH; d += LENGTH) {
      long offset = (long) d * Float.BYTES;
      sum = load(row, a + offset).fma(load(key, b + offset), sum);
    }
    if (d < depth) {
      long offset = (long) d * Float.BYTES;
      sum = load(row, a + offset).fma(load(key, b + offset, Lanes.first(depth - d)), sum);
    }
    sum.intoArray(lanes, at);
  }

  /** {@code mean[d] += weight[j] * value[j][d]} over {@code count} values. */
  static void addWeighted(
      MemorySegment scratch,
      long weights,
      MemorySegment values,
      long value,
      long step,
      int depth,
      int count,
      long mean) {
    int d = 0;
    for (; d <= depth - 2 * LENGTH; d += 2 * LENGTH) {
      long offset = (long) d * Float.BYTES;
      weighted2(scratch, weights, values, value + offset, step, count, mean + offset);
    }
    for (; d < depth; d += LENGTH) {
      long offset = (long) d * Float.BYTES;
      VectorMask<Float> mask = Lanes.first(depth - d);
      FloatVector sum = load(scratch, mean + offset);
      for (int j = 0; j < count; j++) {
        float weight = scratch.get(Element.FLOAT, weights + (long) j * Float.BYTES);
        FloatVector row = load(values, value + j * step + offset, mask);
        sum = row.fma(FloatVector.broadcast(F, weight), sum);
      }
      store(sum, scratch, mean + offset);
    }
  }

  private static void weighted2(
      MemorySegment scratch,
      long weights,
      MemorySegment values,
      long value,
      long step,
      int count,
      long mean) {
    long v = (long) LENGTH * Float.BYTES;
    FloatVector sum0 = load(scratch, mean);
    FloatVector sum1 = load(scratch, mean + v);
    for (int j = 0; j < count; j++) {
      long row = value + j * step;
      FloatVector weight =
          FloatVector.broadcast(F, scratch.get(Element.FLOAT, weights + (long) j * Float.BYTES));
      sum0 = load(values, row).fma(weight, sum0);
      sum1 = load(values, row + v).fma(weight, sum1);
    }
    store(sum0, scratch, mean);
    store(sum1, scratch, mean + v);
  }
}
