package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;

/**
 * Products of F8 codes with scales, through the f32 kernels; {@link ByteProducts} does those of I8.
 */
final class ScaledProduct {
  private final Threads threads;
  private final Matrices matrices;

  ScaledProduct(Threads threads, Matrices matrices) {
    this.threads = threads;
    this.matrices = matrices;
  }

  /** {@code out = xScale ⊗ wScale · (x wᵀ) + bias}. */
  void linear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    matrices.linear(x, w, null, out);
    scale(xScale, wScale, bias, out);
  }

  private void scale(Tensor xScale, Tensor wScale, Tensor bias, Tensor out) {
    int columns = Math.toIntExact(out.dim(1));
    float[] weights = new float[columns];
    FloatRuns.read(DType.F32, wScale.storage().segment(), wScale.offset(), columns, weights, 0);
    float[] shift = new float[columns];
    if (bias != null) {
      FloatRuns.readStrided(
          bias.dtype(), bias.storage().segment(), bias.offset(), bias.stride(0), columns, shift, 0);
    }
    threads.forEach(
        out.dim(0),
        8,
        (from, to) -> {
          float[] row = new float[columns];
          for (long m = from; m < to; m++) {
            float factor = Element.f32(xScale.segment(), m);
            FloatRuns.read(DType.F32, out.storage().segment(), start(out, m), columns, row, 0);
            for (int n = 0; n < columns; n++) {
              row[n] = row[n] * (factor * weights[n]) + shift[n];
            }
            write(row, out, m);
          }
        });
  }

  private static void write(float[] values, Tensor out, long row) {
    FloatRuns.write(values, 0, values.length, out.storage().segment(), start(out, row));
  }

  private static long start(Tensor out, long row) {
    return out.offset() + row * out.stride(0);
  }
}
