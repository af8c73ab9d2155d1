package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Cholesky factor and triangular inverse by blocks: small blocks on the diagonal are done in F64,
 * the rest, which is nearly all the work, by matrix products.
 */
final class Triangular {
  /** Rows of a block that is done in F64; whole vectors. */
  static final int BLOCK = 64;

  /** Columns that are finished before they are taken out of the rest of the matrix. */
  private static final int PANEL = 256;

  private static final VectorSpecies<Double> LANES = Lanes.D;

  private final Threads threads;
  private final MachineKernels machine;
  private final HostMemory memory;
  private final Matrices matrices;

  Triangular(Threads threads, KernelChoice kernels, HostMemory memory, Matrices matrices) {
    this.threads = threads;
    this.machine = kernels.machine();
    this.memory = memory;
    this.matrices = matrices;
  }

  /** Overwrites a with its lower factor; returns −1 or the first pivot that is not positive. */
  long cholesky(Tensor a) {
    long failed = machine == null ? factor(a) : PanelCholesky.factor(threads, machine, memory, a);
    if (failed < 0) {
      clearAbove(a);
    }
    return failed;
  }

  /** The same on the Vector API, without clearing what is above the diagonal. */
  private long factor(Tensor a) {
    long size = a.dim(0);
    double[] block = new double[BLOCK * BLOCK];
    double[] inverse = new double[BLOCK * BLOCK];
    Tensor factor = scratch();
    for (long first = 0; first < size; first += PANEL) {
      long end = Math.min(first + PANEL, size);
      for (long from = first; from < end; from += BLOCK) {
        long to = Math.min(from + BLOCK, end);
        int width = (int) (to - from);
        read(a, from, width, block);
        int failed = factor(block, width);
        if (failed >= 0) {
          return from + failed;
        }
        writeTurned(block, width, a, from);
        if (to < size) {
          invert(block, width, inverse);
          write(inverse, width, factor, 0);
          below(a, from, to, end, factor);
        }
      }
      if (end < size) {
        Tensor rows = a.slice(0, end, size);
        matrices.lowerSyrk(-1, rows.slice(1, first, end), 1, rows.slice(1, end, size));
      }
    }
    return -1;
  }

  /** A block that the garbage collector frees: heap memory would make every copy polymorphic. */
  private static Tensor scratch() {
    MemorySegment bytes = Arena.ofAuto().allocate((long) BLOCK * BLOCK * Float.BYTES, 64);
    return Tensor.of(bytes, DType.F32, Shape.of(BLOCK, BLOCK));
  }

  /** The columns under a diagonal block, and what they take away from the rest of their panel. */
  private void below(Tensor a, long from, long to, long end, Tensor inverse) {
    int width = (int) (to - from);
    Tensor rows = a.slice(0, to, a.dim(0));
    Tensor columns = rows.slice(1, from, to);
    matrices.timesTransposeInPlace(columns, square(inverse, 0, width));
    if (to < end) {
      Tensor beside = columns.slice(0, 0, end - to);
      matrices.gemm(-1, columns, beside.transpose(0, 1), 1, rows.slice(1, to, end));
    }
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
    matrices.timesTriangle(
        1, first.transpose(0, 1), Gemm.Shape.UPPER, below.transpose(0, 1), scratch);
    Tensor corner = out.slice(0, half, size).slice(1, 0, half);
    matrices.timesTriangle(-1, second, Gemm.Shape.LOWER, scratch.transpose(0, 1), corner);
    for (long i = 0; i < half; i++) {
      clear(out, i, half, size);
    }
  }

  private static Tensor square(Tensor x, long from, long to) {
    return x.slice(0, from, to).slice(1, from, to);
  }

  /** Reads a lower triangle as the upper one of its transpose, zeros around it. */
  static void read(Tensor a, long from, int width, double[] to) {
    float[] row = new float[width];
    Operand rows = Operand.left(a);
    Arrays.fill(to, 0);
    for (int i = 0; i < width; i++) {
      rows.readInner(from + i, from, i + 1, row, 0);
      for (int j = 0; j <= i; j++) {
        to[j * BLOCK + i] = row[j];
      }
    }
  }

  /** Writes a lower triangle, zeros above it. */
  private static void write(double[] from, int width, Tensor a, long at) {
    float[] row = new float[width];
    for (int i = 0; i < width; i++) {
      for (int j = 0; j < width; j++) {
        row[j] = j <= i ? (float) from[i * BLOCK + j] : 0;
      }
      FloatRuns.write(row, 0, width, a.storage().segment(), position(a, at + i, at));
    }
  }

  /** Writes the transpose of an upper triangle, zeros above it. */
  static void writeTurned(double[] from, int width, Tensor a, long at) {
    float[] row = new float[width];
    for (int i = 0; i < width; i++) {
      for (int j = 0; j < width; j++) {
        row[j] = j <= i ? (float) from[j * BLOCK + i] : 0;
      }
      FloatRuns.write(row, 0, width, a.storage().segment(), position(a, at + i, at));
    }
  }

  /**
   * Factors in place, the transpose of the factor in the upper triangle; returns −1 or the pivot
   * that failed. What the lower triangle holds afterwards has no meaning.
   */
  static int factor(double[] a, int width) {
    for (int k = 0; k < width; k++) {
      int row = k * BLOCK;
      double pivot = a[row + k];
      if (!(pivot > 0)) {
        return k;
      }
      double root = Math.sqrt(pivot);
      for (int j = k; j < width; j++) {
        a[row + j] /= root;
      }
      a[row + k] = root;
      for (int i = k + 1; i < width; i++) {
        int from = i / LANES.length() * LANES.length();
        addScaled(a, row + from, -a[row + i], a, i * BLOCK + from, width - from);
      }
    }
    return -1;
  }

  /**
   * Inverse of a lower triangle, given as its transpose, row by row: {@code x[i] = (e[i] − Σ
   * l[i][k] x[k]) / l[i][i]}.
   */
  static void invert(double[] l, int width, double[] to) {
    Arrays.fill(to, 0);
    for (int i = 0; i < width; i++) {
      int row = i * BLOCK;
      to[row + i] = 1;
      for (int k = 0; k < i; k++) {
        addScaled(to, k * BLOCK, -l[k * BLOCK + i], to, row, k + 1);
      }
      double scale = 1 / l[row + i];
      for (int j = 0; j <= i; j++) {
        to[row + j] *= scale;
      }
    }
  }

  /** {@code y += factor * x}, rounded up to whole vectors. */
  private static void addScaled(double[] x, int xAt, double factor, double[] y, int yAt, int n) {
    DoubleVector factors = DoubleVector.broadcast(LANES, factor);
    for (int j = 0; j < n; j += LANES.length()) {
      DoubleVector sum = DoubleVector.fromArray(LANES, y, yAt + j);
      DoubleVector.fromArray(LANES, x, xAt + j).fma(factors, sum).intoArray(y, yAt + j);
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
