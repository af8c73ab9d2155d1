package fqt.tensor.cpu;

import fqt.tensor.DType;
import java.lang.foreign.MemorySegment;

/**
 * A matrix of BF16 as terms of two numbers, as the bf16 kernels want it. They travel through the
 * packing code in the guise of floats, which only ever moves them. Numbers that fill up the last
 * term, and terms that fill up {@code inner}, are zeros.
 */
record Bf16Terms(
    MemorySegment bytes, long offset, long outer, long columns, long stride, long inner)
    implements Operand {
  /** Whether a matrix can be read so. */
  static boolean fits(Operand x) {
    return x instanceof Strided dense && dense.type() == DType.BF16 && dense.innerStride() == 1;
  }

  /**
   * Views a matrix.
   *
   * @param multiple what the number of terms is filled up to a multiple of
   */
  static Bf16Terms of(Operand x, int multiple) {
    Strided dense = (Strided) x;
    long inner = Math.ceilDiv(Math.ceilDiv(dense.inner(), 2), multiple) * multiple;
    return new Bf16Terms(
        dense.bytes(), dense.offset(), dense.outer(), dense.inner(), dense.outerStride(), inner);
  }

  @Override
  public Raw raw() {
    return new Raw(bytes, offset * Short.BYTES, stride * Short.BYTES, outer, columns / 2);
  }

  @Override
  public boolean outerIsDense() {
    return false;
  }

  @Override
  public void readInner(long row, long from, int count, float[] to, int at) {
    int whole = Math.clamp(columns / 2 - from, 0, count);
    long start = (offset + row * stride + 2 * from) * Short.BYTES;
    MemorySegment.copy(bytes, Element.FLOAT, start, to, at, whole);
    for (int i = whole; i < count; i++) {
      long column = 2 * (from + i);
      int first =
          column < columns
              ? Short.toUnsignedInt(
                  bytes.get(Element.SHORT, (offset + row * stride + column) * Short.BYTES))
              : 0;
      to[at + i] = Float.intBitsToFloat(first);
    }
  }

  @Override
  public void readOuter(long from, long term, int count, float[] to, int at) {
    for (int i = 0; i < count; i++) {
      readInner(from + i, term, 1, to, at + i);
    }
  }
}
