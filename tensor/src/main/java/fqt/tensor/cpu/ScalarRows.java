package fqt.tensor.cpu;

import fqt.tensor.Axis;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Scalar twin of the row kernels: norms, softmax, reductions, top-k, cross entropy, gather. */
final class ScalarRows {
  private ScalarRows() {}

  static void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
    float[] scale = floats(weight);
    MemorySegment to = out.segment();
    for (long m = 0; m < x.dim(0); m++) {
      float[] row = row(x, m);
      double squares = 0;
      for (float value : row) {
        squares += (double) value * value;
      }
      float factor = (float) (1 / Math.sqrt(squares / row.length + eps));
      for (int k = 0; k < row.length; k++) {
        Element.f32(to, m * row.length + k, row[k] * factor * scale[k]);
      }
    }
  }

  static void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    float[] scale = floats(weight);
    float[] shift = floats(bias);
    MemorySegment to = out.segment();
    for (long m = 0; m < x.dim(0); m++) {
      float[] row = row(x, m);
      double sum = 0;
      for (float value : row) {
        sum += value;
      }
      double mean = sum / row.length;
      double squares = 0;
      for (float value : row) {
        squares += (value - mean) * (value - mean);
      }
      double factor = 1 / Math.sqrt(squares / row.length + eps);
      for (int k = 0; k < row.length; k++) {
        float value = (float) ((row[k] - mean) * factor);
        Element.f32(to, m * row.length + k, Math.fma(value, scale[k], shift[k]));
      }
    }
  }

  static void softmax(Tensor x, Tensor out) {
    MemorySegment to = out.segment();
    for (long m = 0; m < x.dim(0); m++) {
      float[] row = row(x, m);
      double shift = max(row);
      double sum = 0;
      for (float value : row) {
        sum += Math.exp(value - shift);
      }
      for (int k = 0; k < row.length; k++) {
        Element.f32(to, m * row.length + k, (float) (Math.exp(row[k] - shift) / sum));
      }
    }
  }

  static void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out) {
    Tensor rows = axis == Axis.ROWS ? x : x.transpose(0, 1);
    MemorySegment to = out.segment();
    for (long m = 0; m < rows.dim(0); m++) {
      Element.f32(to, m, (float) reduce(op, row(rows, m)));
    }
  }

  private static double reduce(ReduceOp op, float[] values) {
    double result = values[0];
    switch (op) {
      case SUM, MEAN, MEAN_ABS, SUM_SQUARES -> result = 0;
      case MAX_ABS -> result = Math.abs(result);
      case MIN, MAX -> {}
    }
    for (double value : values) {
      result =
          switch (op) {
            case SUM, MEAN -> result + value;
            case MEAN_ABS -> result + Math.abs(value);
            case SUM_SQUARES -> result + value * value;
            case MIN -> Math.min(result, value);
            case MAX -> Math.max(result, value);
            case MAX_ABS -> Math.max(result, Math.abs(value));
          };
    }
    return switch (op) {
      case MEAN, MEAN_ABS -> result / values.length;
      case SUM, SUM_SQUARES, MIN, MAX, MAX_ABS -> result;
    };
  }

  /** Selects by insertion, largest first; NaN counts as larger than everything. */
  static void topK(Tensor x, long k, Tensor values, Tensor indices) {
    int kept = Math.toIntExact(k);
    float[] best = new float[kept];
    int[] places = new int[kept];
    for (long m = 0; m < x.dim(0); m++) {
      float[] row = row(x, m);
      int filled = 0;
      for (int i = 0; i < row.length; i++) {
        int at = filled;
        while (at > 0 && Float.compare(row[i], best[at - 1]) > 0) {
          at--;
        }
        if (at < kept) {
          int moved = Math.min(filled, kept - 1) - at;
          System.arraycopy(best, at, best, at + 1, moved);
          System.arraycopy(places, at, places, at + 1, moved);
          best[at] = row[i];
          places[at] = i;
          filled = Math.min(filled + 1, kept);
        }
      }
      MemorySegment.copy(best, 0, values.segment(), Element.FLOAT, m * k * Float.BYTES, kept);
      MemorySegment.copy(places, 0, indices.segment(), Element.INT, m * k * Integer.BYTES, kept);
    }
  }

  static void crossEntropy(Tensor x, Tensor target, Tensor out) {
    for (long m = 0; m < x.dim(0); m++) {
      int wanted = index(target.segment(), m, x.dim(1));
      float[] row = row(x, m);
      double shift = max(row);
      double sum = 0;
      for (float value : row) {
        sum += Math.exp(value - shift);
      }
      Element.f32(out.segment(), m, (float) (Math.log(sum) + shift - row[wanted]));
    }
  }

  static void gatherRows(Tensor table, Tensor index, Tensor out) {
    MemorySegment to = out.segment();
    long columns = table.dim(1);
    for (long m = 0; m < index.dim(0); m++) {
      float[] row = row(table, index(index.segment(), m, table.dim(0)));
      MemorySegment.copy(row, 0, to, Element.FLOAT, m * columns * Float.BYTES, row.length);
    }
  }

  static void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    MemorySegment to = out.segment();
    long columns = rows.dim(1);
    for (long m = 0; m < rows.dim(0); m++) {
      long start = index(index.segment(), m, out.dim(0)) * columns;
      float factor = weight == null ? 1 : Element.f32(weight.segment(), m);
      float[] row = row(rows, m);
      for (int k = 0; k < row.length; k++) {
        float sum = Math.fma(factor, row[k], Element.f32(to, start + k));
        Element.f32(to, start + k, sum);
      }
    }
  }

  /**
   * Entry {@code m} of an I32 index.
   *
   * @throws IndexOutOfBoundsException if it is negative or not below the limit
   */
  static int index(MemorySegment indices, long m, long limit) {
    int value = Element.i32(indices, m);
    if (value < 0 || value >= limit) {
      throw new IndexOutOfBoundsException(
          "index[%d] is %d; expected 0 to %d".formatted(m, value, limit - 1));
    }
    return value;
  }

  /** One row of a matrix of any type and strides, as F32. */
  static float[] row(Tensor x, long m) {
    return floats(x.select(0, m));
  }

  /** A vector of any type and stride, as F32. */
  static float[] floats(Tensor x) {
    MemorySegment from = x.storage().segment();
    float[] values = new float[Math.toIntExact(x.count())];
    long step = x.stride(0);
    for (int i = 0; i < values.length; i++) {
      values[i] = Element.getFloat(from, x.dtype(), x.offset() + i * step);
    }
    return values;
  }

  private static double max(float[] row) {
    float largest = Float.NEGATIVE_INFINITY;
    for (float value : row) {
      largest = Math.max(largest, value);
    }
    return largest;
  }
}
