package fqt.quant;

import fqt.tensor.DType;

/** What a quantized element is. */
public enum CodeType {
  /** A whole number of a few bits, kept unsigned, with a zero point. */
  INTEGER(DType.U8),
  /** An 8-bit float with 4 exponent bits; no zero point. */
  F8_E4M3(DType.F8_E4M3);

  private final DType dtype;

  CodeType(DType dtype) {
    this.dtype = dtype;
  }

  /** Type of the tensors that hold such codes. */
  public DType dtype() {
    return dtype;
  }
}
