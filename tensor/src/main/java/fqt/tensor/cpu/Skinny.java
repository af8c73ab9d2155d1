package fqt.tensor.cpu;

import fqt.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Products of a few rows with a large weight, as in generation token by token: each row of the
 * weight is read once, in the order of memory, and multiplied with all rows of x while it is in the
 * first-level cache.
 */
final class Skinny {
  /** Rows of x up to which this is faster than packing. */
  static final int MOST_ROWS = 16;

  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();
  private static final int CHUNK = 1024;

  /** Terms that one range of the loop over outputs reads at least. */
  private static final long GRAIN = 1 << 16;

  private Skinny() {}

  /** {@code out = alpha * x wᵀ + beta * out + bias}; w dense along its inner dimension. */
  static void multiply(Threads threads, Operand x, Operand w, Result out) {
    int rows = (int) x.outer();
    int depth = Math.toIntExact(x.inner());
    float[] inputs = new float[rows * depth];
    for (int m = 0; m < rows; m++) {
      x.readInner(m, 0, depth, inputs, m * depth);
    }
    long grain = Math.max(1, GRAIN / Math.max(1, depth));
    threads.forEach(
        w.outer(),
        grain,
        (from, to) -> {
          float[] chunk = new float[Math.min(CHUNK, depth)];
          float[] lanes = new float[4 * LANES];
          float[] sums = new float[rows];
          for (long n = from; n < to; n++) {
            sums(inputs, rows, depth, w, n, chunk, lanes, sums);
            out.addColumn(sums, n);
          }
        });
  }

  private static void sums(
      float[] inputs,
      int rows,
      int depth,
      Operand w,
      long n,
      float[] chunk,
      float[] lanes,
      float[] sums) {
    Arrays.fill(sums, 0);
    for (int k = 0; k < depth; k += CHUNK) {
      int size = Math.min(CHUNK, depth - k);
      if (rows == 1 && w instanceof Operand.Strided dense && dense.isDenseF32()) {
        long start = (dense.offset() + n * dense.outerStride() + k) * Float.BYTES;
        sums[0] += dot(inputs, k, dense.bytes(), start, size, chunk, lanes);
        continue;
      }
      w.readInner(n, k, size, chunk, 0);
      int m = 0;
      for (; m + 4 <= rows; m += 4) {
        dot4(inputs, m * depth + k, depth, chunk, size, lanes, sums, m);
      }
      for (; m < rows; m++) {
        sums[m] += dot(inputs, m * depth + k, chunk, size, lanes);
      }
    }
  }

  private static float dot(float[] x, int at, float[] w, int size, float[] lanes) {
    FloatVector a = FloatVector.zero(SPECIES);
    FloatVector b = FloatVector.zero(SPECIES);
    FloatVector c = FloatVector.zero(SPECIES);
    FloatVector d = FloatVector.zero(SPECIES);
    int k = 0;
    for (int end = size - 4 * LANES; k <= end; k += 4 * LANES) {
      a = load(x, at + k).fma(load(w, k), a);
      b = load(x, at + k + LANES).fma(load(w, k + LANES), b);
      c = load(x, at + k + 2 * LANES).fma(load(w, k + 2 * LANES), c);
      d = load(x, at + k + 3 * LANES).fma(load(w, k + 3 * LANES), d);
    }
    for (int end = size - LANES; k <= end; k += LANES) {
      a = load(x, at + k).fma(load(w, k), a);
    }
    a.add(b).add(c.add(d)).intoArray(lanes, 0);
    return finish(lanes, 0, x, at, w, k, size);
  }

  /** The same sum in the same order for one row, straight from memory. */
  private static float dot(
      float[] x, int at, MemorySegment w, long start, int size, float[] rest, float[] lanes) {
    FloatVector a = FloatVector.zero(SPECIES);
    FloatVector b = FloatVector.zero(SPECIES);
    FloatVector c = FloatVector.zero(SPECIES);
    FloatVector d = FloatVector.zero(SPECIES);
    int k = 0;
    for (int end = size - 4 * LANES; k <= end; k += 4 * LANES) {
      a = load(x, at + k).fma(load(w, start, k), a);
      b = load(x, at + k + LANES).fma(load(w, start, k + LANES), b);
      c = load(x, at + k + 2 * LANES).fma(load(w, start, k + 2 * LANES), c);
      d = load(x, at + k + 3 * LANES).fma(load(w, start, k + 3 * LANES), d);
    }
    for (int end = size - LANES; k <= end; k += LANES) {
      a = load(x, at + k).fma(load(w, start, k), a);
    }
    a.add(b).add(c.add(d)).intoArray(lanes, 0);
    FloatRuns.read(DType.F32, w, start / Float.BYTES + k, size - k, rest, k);
    return finish(lanes, 0, x, at, rest, k, size);
  }

  private static FloatVector load(MemorySegment from, long start, int index) {
    return FloatVector.fromMemorySegment(
        SPECIES, from, start + (long) index * Float.BYTES, ByteOrder.LITTLE_ENDIAN);
  }

  private static void dot4(
      float[] x, int at, int stride, float[] w, int size, float[] lanes, float[] sums, int row) {
    FloatVector a = FloatVector.zero(SPECIES);
    FloatVector b = FloatVector.zero(SPECIES);
    FloatVector c = FloatVector.zero(SPECIES);
    FloatVector d = FloatVector.zero(SPECIES);
    int second = at + stride;
    int third = second + stride;
    int fourth = third + stride;
    int end = SPECIES.loopBound(size);
    for (int k = 0; k < end; k += LANES) {
      FloatVector v = load(w, k);
      a = load(x, at + k).fma(v, a);
      b = load(x, second + k).fma(v, b);
      c = load(x, third + k).fma(v, c);
      d = load(x, fourth + k).fma(v, d);
    }
    a.intoArray(lanes, 0);
    b.intoArray(lanes, LANES);
    c.intoArray(lanes, 2 * LANES);
    d.intoArray(lanes, 3 * LANES);
    sums[row] += finish(lanes, 0, x, at, w, end, size);
    sums[row + 1] += finish(lanes, LANES, x, second, w, end, size);
    sums[row + 2] += finish(lanes, 2 * LANES, x, third, w, end, size);
    sums[row + 3] += finish(lanes, 3 * LANES, x, fourth, w, end, size);
  }

  /**
   * Adds up the lanes and the last terms, always in the same order: reduceLanes does not promise
   * one, and interpreter and compiler do differ.
   */
  private static float finish(
      float[] lanes, int lane, float[] x, int at, float[] w, int from, int size) {
    for (int width = LANES / 2; width > 0; width /= 2) {
      for (int i = lane; i < lane + width; i++) {
        lanes[i] += lanes[i + width];
      }
    }
    float sum = lanes[lane];
    for (int k = from; k < size; k++) {
      sum = Math.fma(x[at + k], w[k], sum);
    }
    return sum;
  }

  private static FloatVector load(float[] x, int at) {
    return FloatVector.fromArray(SPECIES, x, at);
  }
}
