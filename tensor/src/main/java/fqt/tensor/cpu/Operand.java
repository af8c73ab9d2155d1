package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * One side of a matrix product as the packing code sees it: {@code outer} rows of the result (or
 * columns, for the right-hand side) by {@code inner} terms of each sum.
 */
sealed interface Operand permits Bf16Terms, ByteTerms, Operand.Strided, PackedRows {
  /** Rows of a, or columns of b. */
  long outer();

  /** Terms of each sum. */
  long inner();

  /** Whether neighbours along the outer dimension lie side by side, so reading along it is fast. */
  boolean outerIsDense();

  /** Reads {@code count} terms of one outer index as f32. */
  void readInner(long outer, long from, int count, float[] to, int at);

  /** Reads one term of {@code count} outer indices as f32. */
  void readOuter(long from, long inner, int count, float[] to, int at);

  /**
   * Terms that lie in memory as the kernels want them, four bytes each and side by side.
   *
   * @param bytes the memory
   * @param start where the first term of the first row is, in bytes
   * @param stride distance of two rows, in bytes
   * @param rows how many outer indices lie there
   * @param terms how many terms of each do
   */
  record Raw(MemorySegment bytes, long start, long stride, long rows, long terms) {
    /** The place of a term. */
    long at(long row, long term) {
      return start + row * stride + term * Float.BYTES;
    }
  }

  /** The terms that need only be copied, or null if there are none. */
  default Raw raw() {
    return null;
  }

  /** The left side of a product: a [outer, inner]. */
  static Strided left(Tensor a) {
    return new Strided(
        a.dtype(), a.storage().segment(), a.offset(), a.dim(0), a.dim(1), a.stride(0), a.stride(1));
  }

  /** The right side of a product: b [inner, outer]. */
  static Operand right(Tensor b) {
    return left(b.transpose(0, 1));
  }

  /** A matrix of any float type and any strides, in elements. */
  record Strided(
      DType type,
      MemorySegment bytes,
      long offset,
      long outer,
      long inner,
      long outerStride,
      long innerStride)
      implements Operand {
    /** Whether the terms of a sum are F32 numbers side by side. */
    boolean isDenseF32() {
      return type == DType.F32 && innerStride == 1;
    }

    @Override
    public Raw raw() {
      return isDenseF32()
          ? new Raw(bytes, offset * Float.BYTES, outerStride * Float.BYTES, outer, inner)
          : null;
    }

    @Override
    public boolean outerIsDense() {
      return outerStride == 1 && innerStride != 1;
    }

    @Override
    public void readInner(long row, long from, int count, float[] to, int at) {
      long start = offset + row * outerStride + from * innerStride;
      readRun(start, innerStride, count, to, at);
    }

    @Override
    public void readOuter(long from, long term, int count, float[] to, int at) {
      long start = offset + from * outerStride + term * innerStride;
      readRun(start, outerStride, count, to, at);
    }

    private void readRun(long start, long stride, int count, float[] to, int at) {
      if (stride == 1) {
        FloatRuns.read(type, bytes, start, count, to, at);
      } else {
        FloatRuns.readStrided(type, bytes, start, stride, count, to, at);
      }
    }
  }
}
