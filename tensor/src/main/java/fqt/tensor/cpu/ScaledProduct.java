package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Products of codes with scales. They run through the f32 kernels, and stay exact: a product of two
 * I8 codes is at most 2^14, so up to {@value #EXACT} of them add up, in any order, without rounding
 * in the 24 bits of an f32; longer sums are cut into such pieces, which are added as integers.
 */
final class ScaledProduct {
  private static final int EXACT = 1024;

  /** Rows of x whose partial sums are held at a time. */
  private static final int ROWS = 512;

  private final Threads threads;
  private final Matrices matrices;

  ScaledProduct(Threads threads, Matrices matrices) {
    this.threads = threads;
    this.matrices = matrices;
  }

  /** {@code out = xScale ⊗ wScale · (x wᵀ) + bias}. */
  void linear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    if (x.dtype() == DType.I8 && x.dim(1) > EXACT) {
      for (long row = 0; row < x.dim(0); row += ROWS) {
        long end = Math.min(x.dim(0), row + ROWS);
        addPieces(x.slice(0, row, end), w, out.slice(0, row, end));
      }
    } else {
      matrices.linear(x, w, null, out);
    }
    scale(xScale, wScale, bias, out);
  }

  /** The sums of long rows, piece by piece; rounded to f32 once, at the end. */
  private void addPieces(Tensor x, Tensor w, Tensor out) {
    int columns = Math.toIntExact(out.dim(1));
    try (Arena arena = Arena.ofShared()) {
      MemorySegment bytes = arena.allocate(out.byteSize(), 64);
      Tensor piece = Tensor.of(bytes, DType.F32, Shape.of(out.dim(0), out.dim(1)));
      int[][] sums = new int[Math.toIntExact(out.dim(0))][columns];
      for (long k = 0; k < x.dim(1); k += EXACT) {
        long end = Math.min(x.dim(1), k + EXACT);
        matrices.linear(x.slice(1, k, end), w.slice(1, k, end), null, piece);
        threads.forEach(sums.length, 8, (from, to) -> add(bytes, sums, from, to));
      }
      threads.forEach(sums.length, 8, (from, to) -> store(sums, from, to, out));
    }
  }

  private static void add(MemorySegment piece, int[][] sums, long from, long to) {
    float[] values = new float[sums[0].length];
    for (long m = from; m < to; m++) {
      int[] row = sums[(int) m];
      FloatRuns.read(DType.F32, piece, m * values.length, values.length, values, 0);
      for (int n = 0; n < values.length; n++) {
        row[n] += (int) values[n];
      }
    }
  }

  private static void store(int[][] sums, long from, long to, Tensor out) {
    float[] values = new float[sums[0].length];
    for (long m = from; m < to; m++) {
      int[] row = sums[(int) m];
      for (int n = 0; n < values.length; n++) {
        values[n] = row[n];
      }
      write(values, out, m);
    }
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
