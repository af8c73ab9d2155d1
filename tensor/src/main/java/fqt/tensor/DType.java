package fqt.tensor;

/** The type of a tensor's elements; names are those of the safetensors format. */
public enum DType {
  /** IEEE 754 binary32. */
  F32(4, true),
  /** IEEE 754 binary16. */
  F16(2, true),
  /** The upper half of a binary32: 8 exponent bits, 7 fraction bits. */
  BF16(2, true),
  /** 4 exponent bits, 3 fraction bits, no infinities; the largest value is 448. */
  F8_E4M3(1, true),
  /** 5 exponent bits, 2 fraction bits, with infinities; the largest finite value is 57344. */
  F8_E5M2(1, true),
  /** Signed 64-bit integer. */
  I64(8, false),
  /** Signed 32-bit integer. */
  I32(4, false),
  /** Signed 16-bit integer. */
  I16(2, false),
  /** Signed 8-bit integer. */
  I8(1, false),
  /** Unsigned 8-bit integer. */
  U8(1, false),
  /** One byte, 0 or 1. */
  BOOL(1, false);

  private final int byteSize;
  private final boolean isFloat;

  DType(int byteSize, boolean isFloat) {
    this.byteSize = byteSize;
    this.isFloat = isFloat;
  }

  /** {@return the bytes that one element takes} */
  public int byteSize() {
    return byteSize;
  }

  /** {@return whether elements are floating-point numbers} */
  public boolean isFloat() {
    return isFloat;
  }
}
