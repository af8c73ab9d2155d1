package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Cholesky factor and triangular inverse by blocks: the blocks on the diagonal are done in F64, the
 * rest, which is nearly all the work, by matrix products.
 */
final class Triangular {
  private static final int BLOCK = 128;

  private final Matrices matrices;

  Triangular(Matrices matrices) {
    this.matrices = matrices;
  }

  /** Overwrites a with its lower factor; returns −1 or the first pivot that is not positive. */
  long cholesky(Tensor a) {
    long size = a.dim(0);
    double[] block = new double[BLOCK * BLOCK];
    double[] inverse = new double[BLOCK * BLOCK];
    Tensor factor = scratch();
    for (long from = 0; from < size; from += BLOCK) {
      long to = Math.min(from + BLOCK, size);
      int width = (int) (to - from);
      read(a, from, width, block);
      int failed = factor(block, width);
      if (failed >= 0) {
        return from + failed;
      }
      write(block, width, a, from);
      if (to < size) {
        invert(block, width, inverse);
        write(inverse, width, factor, 0);
        below(a, from, to, factor);
      }
    }
    clearAbove(a);
    return -1;
  }

  /** A block that the garbage collector frees: heap memory would make every copy polymorphic. */
  private static Tensor scratch() {
    MemorySegment bytes = Arena.ofAuto().allocate((long) BLOCK * BLOCK * Float.BYTES, 64);
    return Tensor.of(bytes, DType.F32, Shape.of(BLOCK, BLOCK));
  }

  /** The columns under a diagonal block, and what they take away from the rest of the matrix. */
  private void below(Tensor a, long from, long to, Tensor inverse) {
    long size = a.dim(0);
    Tensor rows = a.slice(0, to, size);
    Tensor panel = rows.slice(1, from, to);
    matrices.timesTransposeInPlace(panel, inverse);
    matrices.lowerSyrk(-1, panel, 1, rows.slice(1, to, size));
  }

  /**
   * {@code out = l⁻¹}. With l = [a 0; b c], the inverse is [a⁻¹ 0; −c⁻¹ b a⁻¹ c⁻¹]; the product b
   * a⁻¹ is kept, transposed, in the upper right corner of out, which is cleared afterwards.
   */
  void invertLower(Tensor l, Tensor out) {
    long size = l.dim(0);
    if (size <= BLOCK) {
      double[] block = new double[BLOCK * BLOCK];
      double[] inverse = new double[BLOCK * BLOCK];
      read(l, 0, (int) size, block);
      invert(block, (int) size, inverse);
      write(inverse, (int) size, out, 0);
      return;
    }
    long half = Math.ceilDiv(size, 2 * BLOCK) * BLOCK;
    Tensor first = square(out, 0, half);
    Tensor second = square(out, half, size);
    invertLower(square(l, 0, half), first);
    invertLower(square(l, half, size), second);
    Tensor below = l.slice(0, half, size).slice(1, 0, half);
    Tensor scratch = out.slice(0, 0, half).slice(1, half, size);
    matrices.gemm(1, first.transpose(0, 1), below.transpose(0, 1), 0, scratch);
    Tensor corner = out.slice(0, half, size).slice(1, 0, half);
    matrices.gemm(-1, second, scratch.transpose(0, 1), 0, corner);
    for (long i = 0; i < half; i++) {
      clear(out, i, half, size);
    }
  }

  private static Tensor square(Tensor x, long from, long to) {
    return x.slice(0, from, to).slice(1, from, to);
  }

  private static void read(Tensor a, long from, int width, double[] to) {
    float[] row = new float[width];
    Operand rows = Operand.left(a);
    for (int i = 0; i < width; i++) {
      rows.readInner(from + i, from, width, row, 0);
      for (int j = 0; j < width; j++) {
        to[i * width + j] = row[j];
      }
    }
  }

  /** Writes a lower triangle, zeros above it. */
  private static void write(double[] from, int width, Tensor a, long at) {
    float[] row = new float[width];
    for (int i = 0; i < width; i++) {
      for (int j = 0; j < width; j++) {
        row[j] = j <= i ? (float) from[i * width + j] : 0;
      }
      FloatRuns.write(row, 0, width, a.storage().segment(), position(a, at + i, at));
    }
  }

  /** Factors the lower triangle in place, row by row; returns −1 or the pivot that failed. */
  private static int factor(double[] a, int width) {
    for (int i = 0; i < width; i++) {
      for (int j = 0; j < i; j++) {
        double rest = a[i * width + j] - dot(a, i * width, a, j * width, j);
        a[i * width + j] = rest / a[j * width + j];
      }
      double pivot = a[i * width + i] - dot(a, i * width, a, i * width, i);
      if (!(pivot > 0)) {
        return i;
      }
      a[i * width + i] = Math.sqrt(pivot);
    }
    return -1;
  }

  private static double dot(double[] a, int aAt, double[] b, int bAt, int count) {
    double sum = 0;
    for (int k = 0; k < count; k++) {
      sum = Math.fma(a[aAt + k], b[bAt + k], sum);
    }
    return sum;
  }

  /** Inverse of a lower triangle, row by row: {@code x[i] = (e[i] − Σ l[i][k] x[k]) / l[i][i]}. */
  private static void invert(double[] l, int width, double[] to) {
    Arrays.fill(to, 0, width * width, 0);
    for (int i = 0; i < width; i++) {
      to[i * width + i] = 1;
      for (int k = 0; k < i; k++) {
        double factor = -l[i * width + k];
        for (int j = 0; j <= k; j++) {
          to[i * width + j] += factor * to[k * width + j];
        }
      }
      double scale = 1 / l[i * width + i];
      for (int j = 0; j <= i; j++) {
        to[i * width + j] *= scale;
      }
    }
  }

  private static void clearAbove(Tensor a) {
    for (long i = 0; i < a.dim(0); i++) {
      clear(a, i, i + 1, a.dim(0));
    }
  }

  private static void clear(Tensor a, long row, long from, long to) {
    long start = position(a, row, from) * Float.BYTES;
    a.storage().segment().asSlice(start, (to - from) * Float.BYTES).fill((byte) 0);
  }

  private static long position(Tensor a, long row, long column) {
    return a.offset() + row * a.stride(0) + column * a.stride(1);
  }
}
