package fqt.tensor.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/** Transposes blocks of f32 arrays. */
final class Transpose {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_256;
  private static final boolean VECTORS = FloatVector.SPECIES_PREFERRED.vectorBitSize() >= 256;

  private static final VectorShuffle<Float> SWAP4 = exchange(4);
  private static final VectorShuffle<Float> SWAP2 = exchange(2);
  private static final VectorShuffle<Float> SWAP1 = exchange(1);
  private static final VectorMask<Float> HIGH4 = VectorMask.fromLong(SPECIES, 0b11110000);
  private static final VectorMask<Float> HIGH2 = VectorMask.fromLong(SPECIES, 0b11001100);
  private static final VectorMask<Float> HIGH1 = VectorMask.fromLong(SPECIES, 0b10101010);

  private Transpose() {}

  private static VectorShuffle<Float> exchange(int distance) {
    return VectorShuffle.fromOp(SPECIES, lane -> lane ^ distance);
  }

  /** {@code to[at + c * toStride + r] = from[start + r * stride + c]} for all rows and columns. */
  static void copy(
      float[] from,
      int start,
      int stride,
      int rows,
      int columns,
      float[] to,
      int at,
      int toStride) {
    int wholeRows = VECTORS ? rows & -8 : 0;
    int wholeColumns = VECTORS ? columns & -8 : 0;
    for (int r = 0; r < wholeRows; r += 8) {
      for (int c = 0; c < wholeColumns; c += 8) {
        square(from, start + r * stride + c, stride, to, at + c * toStride + r, toStride);
      }
    }
    part(from, start, stride, 0, wholeRows, wholeColumns, columns, to, at, toStride);
    part(from, start, stride, wholeRows, rows, 0, columns, to, at, toStride);
  }

  private static void part(
      float[] from,
      int start,
      int stride,
      int firstRow,
      int endRow,
      int firstColumn,
      int endColumn,
      float[] to,
      int at,
      int toStride) {
    for (int c = firstColumn; c < endColumn; c++) {
      for (int r = firstRow; r < endRow; r++) {
        to[at + c * toStride + r] = from[start + r * stride + c];
      }
    }
  }

  /**
   * Eight rows of eight: three rounds exchange halves, quarters and single elements between the
   * rows whose numbers differ in the bit of that weight.
   */
  private static void square(float[] from, int start, int stride, float[] to, int at, int step) {
    FloatVector a0 = load(from, start);
    FloatVector a1 = load(from, start + stride);
    FloatVector a2 = load(from, start + 2 * stride);
    FloatVector a3 = load(from, start + 3 * stride);
    FloatVector a4 = load(from, start + 4 * stride);
    FloatVector a5 = load(from, start + 5 * stride);
    FloatVector a6 = load(from, start + 6 * stride);
    FloatVector a7 = load(from, start + 7 * stride);
    FloatVector b0 = first(a0, a4, SWAP4, HIGH4);
    FloatVector b4 = second(a0, a4, SWAP4, HIGH4);
    FloatVector b1 = first(a1, a5, SWAP4, HIGH4);
    FloatVector b5 = second(a1, a5, SWAP4, HIGH4);
    FloatVector b2 = first(a2, a6, SWAP4, HIGH4);
    FloatVector b6 = second(a2, a6, SWAP4, HIGH4);
    FloatVector b3 = first(a3, a7, SWAP4, HIGH4);
    FloatVector b7 = second(a3, a7, SWAP4, HIGH4);
    quarter(b0, b1, b2, b3, to, at, step);
    quarter(b4, b5, b6, b7, to, at + 4 * step, step);
  }

  private static void quarter(
      FloatVector b0,
      FloatVector b1,
      FloatVector b2,
      FloatVector b3,
      float[] to,
      int at,
      int step) {
    FloatVector c0 = first(b0, b2, SWAP2, HIGH2);
    FloatVector c2 = second(b0, b2, SWAP2, HIGH2);
    FloatVector c1 = first(b1, b3, SWAP2, HIGH2);
    FloatVector c3 = second(b1, b3, SWAP2, HIGH2);
    first(c0, c1, SWAP1, HIGH1).intoArray(to, at);
    second(c0, c1, SWAP1, HIGH1).intoArray(to, at + step);
    first(c2, c3, SWAP1, HIGH1).intoArray(to, at + 2 * step);
    second(c2, c3, SWAP1, HIGH1).intoArray(to, at + 3 * step);
  }

  private static FloatVector load(float[] from, int at) {
    return FloatVector.fromArray(SPECIES, from, at);
  }

  private static FloatVector first(
      FloatVector x, FloatVector y, VectorShuffle<Float> swap, VectorMask<Float> high) {
    return x.blend(y.rearrange(swap), high);
  }

  private static FloatVector second(
      FloatVector x, FloatVector y, VectorShuffle<Float> swap, VectorMask<Float> high) {
    return x.rearrange(swap).blend(y, high);
  }
}
