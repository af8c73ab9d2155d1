package fqt.tensor.cpu;

import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Scalar twin of the matrix kernels; sums accumulate in F64, so that it can serve as oracle. */
final class ScalarMatrix {
  private ScalarMatrix() {}

  static void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    float[][] left = rows(a);
    Tensor columns = b.transpose(0, 1);
    MemorySegment to = out.storage().segment();
    for (long n = 0; n < columns.dim(0); n++) {
      float[] right = ScalarRows.row(columns, n);
      for (int m = 0; m < left.length; m++) {
        long at = out.offset() + m * out.stride(0) + n;
        double old = beta == 0 ? 0 : (double) beta * Element.f32(to, at);
        Element.f32(to, at, (float) (alpha * dot(left[m], right) + old));
      }
    }
  }

  static void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    float[][] left = rows(x);
    float[] shift = bias == null ? new float[(int) w.dim(0)] : ScalarRows.floats(bias);
    for (int n = 0; n < shift.length; n++) {
      column(left, ScalarRows.row(w, n), shift[n], n, out);
    }
  }

  static void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    float[][] left = rows(x);
    float[] shift = bias == null ? new float[(int) w.rows()] : ScalarRows.floats(bias);
    for (int n = 0; n < shift.length; n++) {
      column(left, row(w, n), shift[n], n, out);
    }
  }

  static void scaledLinear(
      Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    for (long m = 0; m < x.dim(0); m++) {
      for (long n = 0; n < w.dim(0); n++) {
        double sum = 0;
        for (long k = 0; k < x.dim(1); k++) {
          sum +=
              (double) Element.getFloat(x.segment(), x.dtype(), m * x.dim(1) + k)
                  * Element.getFloat(w.segment(), w.dtype(), n * w.dim(1) + k);
        }
        float scale = Element.f32(xScale.segment(), m) * Element.f32(wScale.segment(), n);
        float value = (float) sum * scale;
        Element.f32(
            out.segment(), m * w.dim(0) + n, bias == null ? value : value + (float) bias.get(n));
      }
    }
  }

  private static void column(float[][] left, float[] weights, float shift, int n, Tensor out) {
    MemorySegment to = out.segment();
    for (int m = 0; m < left.length; m++) {
      Element.f32(to, m * out.dim(1) + n, (float) (dot(left[m], weights) + shift));
    }
  }

  /** One row of a packed weight, dequantized. */
  static float[] row(PackedWeight w, int n) {
    float[] scales = ScalarRows.row(w.scales(), n);
    float[] zeros = w.zeros() == null ? null : ScalarRows.row(w.zeros(), n);
    MemorySegment words = w.codes().select(0, n).segment();
    float[] values = new float[Math.toIntExact(w.columns())];
    for (int k = 0; k < values.length; k++) {
      int group =
          w.groupIndex() == null
              ? (int) (k / w.groupSize())
              : Element.i32(w.groupIndex().segment(), k);
      float zero = zeros == null ? 1 << w.bits() - 1 : zeros[group];
      values[k] = scales[group] * (ScalarQuantize.code(words, k, w.bits()) - zero);
    }
    return values;
  }

  static void syrk(float alpha, Tensor x, float beta, Tensor out) {
    gemm(alpha, x.transpose(0, 1), x, beta, out);
  }

  static long cholesky(Tensor a) {
    float[][] l = rows(a);
    for (int j = 0; j < l.length; j++) {
      double pivot = l[j][j] - dot(l[j], l[j], j);
      if (!(pivot > 0)) {
        return j;
      }
      l[j][j] = (float) Math.sqrt(pivot);
      for (int i = j + 1; i < l.length; i++) {
        l[i][j] = (float) ((l[i][j] - dot(l[i], l[j], j)) / l[j][j]);
        l[j][i] = 0;
      }
    }
    store(l, a);
    return -1;
  }

  static void invertLower(Tensor l, Tensor out) {
    float[][] lower = rows(l);
    float[][] inverse = new float[lower.length][lower.length];
    for (int j = 0; j < lower.length; j++) {
      inverse[j][j] = 1 / lower[j][j];
      for (int i = j + 1; i < lower.length; i++) {
        double sum = 0;
        for (int k = j; k < i; k++) {
          sum += (double) lower[i][k] * inverse[k][j];
        }
        inverse[i][j] = (float) (-sum / lower[i][i]);
      }
    }
    store(inverse, out);
  }

  static void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    float[][] upper = rows(u);
    for (long n = 0; n < w.dim(0); n++) {
      float[] weights = ScalarRows.row(w, n);
      float[] scales = ScalarRows.row(scale, n);
      float[] zeros = ScalarRows.row(zero, n);
      for (int i = 0; i < weights.length; i++) {
        float code = ScalarQuantize.code(weights[i], scales[i], zeros[i], 0, high);
        float value = scales[i] * (code - zeros[i]);
        float e = (weights[i] - value) / upper[i][i];
        for (int j = i + 1; j < weights.length; j++) {
          weights[j] = Math.fma(-e, upper[i][j], weights[j]);
        }
        set(w, n, i, value);
        set(codes, n, i, code);
        set(error, n, i, e);
      }
    }
  }

  private static void set(Tensor x, long row, long column, float value) {
    long at = x.offset() + row * x.stride(0) + column * x.stride(1);
    Element.setFloat(x.storage().segment(), x.dtype(), at, value);
  }

  private static float[][] rows(Tensor x) {
    float[][] rows = new float[Math.toIntExact(x.dim(0))][];
    for (int m = 0; m < rows.length; m++) {
      rows[m] = ScalarRows.row(x, m);
    }
    return rows;
  }

  private static void store(float[][] rows, Tensor out) {
    for (int m = 0; m < rows.length; m++) {
      MemorySegment.copy(rows[m], 0, out.select(0, m).segment(), Element.FLOAT, 0, rows[m].length);
    }
  }

  private static double dot(float[] a, float[] b) {
    return dot(a, b, a.length);
  }

  private static double dot(float[] a, float[] b, int length) {
    double sum = 0;
    for (int i = 0; i < length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
