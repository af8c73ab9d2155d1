package fqt.tensor.cpu;

import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;

/**
 * Reductions of each column of a matrix. Threads share out strips of columns, and each strip is
 * walked row by row, so that memory is read in order.
 */
final class Columns {
  /** Columns of a strip: a few cache lines of each row, a multiple of every vector length. */
  static final int STRIP = 256;

  private Columns() {}

  static void reduce(Threads threads, ReduceOp op, Tensor x, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    threads.forEach(
        x.dim(1),
        STRIP,
        (first, end) -> {
          switch (op) {
            case SUM, MEAN, MEAN_ABS, SUM_SQUARES ->
                sums(op, x, from, (int) (end - first), first, to);
            case MIN, MAX, MAX_ABS -> extremes(op, x, from, (int) (end - first), first, to);
          }
        });
  }

  private static void sums(
      ReduceOp op, Tensor x, MemorySegment from, int n, long first, MemorySegment to) {
    double[] sums = new double[STRIP];
    for (long m = 0; m < x.dim(0); m++) {
      long at = (m * x.dim(1) + first) * Float.BYTES;
      addRow(from, at, n, sums, op == ReduceOp.MEAN_ABS, op == ReduceOp.SUM_SQUARES);
    }
    boolean mean = op == ReduceOp.MEAN || op == ReduceOp.MEAN_ABS;
    for (int k = 0; k < n; k++) {
      Element.f32(to, first + k, (float) (mean ? sums[k] / x.dim(0) : sums[k]));
    }
  }

  private static void addRow(
      MemorySegment x, long offset, int n, double[] sums, boolean absolute, boolean squared) {
    int step = Lanes.D.length();
    int i = 0;
    for (; i <= n - step; i += step) {
      DoubleVector value = Lanes.loadWide(x, offset + (long) i * Float.BYTES);
      DoubleVector sum = DoubleVector.fromArray(Lanes.D, sums, i);
      sum = squared ? value.fma(value, sum) : sum.add(absolute ? value.abs() : value);
      sum.intoArray(sums, i);
    }
    for (; i < n; i++) {
      double value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      sums[i] += squared ? value * value : absolute ? Math.abs(value) : value;
    }
  }

  private static void extremes(
      ReduceOp op, Tensor x, MemorySegment from, int n, long first, MemorySegment to) {
    float[] extremes = new float[STRIP];
    Arrays.fill(extremes, op == ReduceOp.MIN ? Float.POSITIVE_INFINITY : Float.NEGATIVE_INFINITY);
    for (long m = 0; m < x.dim(0); m++) {
      long at = (m * x.dim(1) + first) * Float.BYTES;
      switch (op) {
        case MIN -> minRow(from, at, n, extremes);
        case MAX -> maxRow(from, at, n, extremes);
        default -> maxAbsRow(from, at, n, extremes);
      }
    }
    MemorySegment.copy(extremes, 0, to, Element.FLOAT, first * Float.BYTES, n);
  }

  /** {@code smallest[i] = min(smallest[i], x[i])}. */
  static void minRow(MemorySegment x, long offset, int n, float[] smallest) {
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      FloatVector value = Lanes.load(x, offset + (long) i * Float.BYTES);
      FloatVector.fromArray(Lanes.F, smallest, i).min(value).intoArray(smallest, i);
    }
    for (; i < n; i++) {
      float value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      smallest[i] = Math.min(smallest[i], value);
    }
  }

  /** {@code largest[i] = max(largest[i], x[i])}. */
  static void maxRow(MemorySegment x, long offset, int n, float[] largest) {
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      FloatVector value = Lanes.load(x, offset + (long) i * Float.BYTES);
      FloatVector.fromArray(Lanes.F, largest, i).max(value).intoArray(largest, i);
    }
    for (; i < n; i++) {
      float value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      largest[i] = Math.max(largest[i], value);
    }
  }

  private static void maxAbsRow(MemorySegment x, long offset, int n, float[] largest) {
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      FloatVector value = Lanes.load(x, offset + (long) i * Float.BYTES).abs();
      FloatVector.fromArray(Lanes.F, largest, i).max(value).intoArray(largest, i);
    }
    for (; i < n; i++) {
      float value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      largest[i] = Math.max(largest[i], Math.abs(value));
    }
  }
}
