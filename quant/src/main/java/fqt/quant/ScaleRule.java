package fqt.quant;

/** How the scale of symmetric {@code b}-bit integers follows from the largest magnitude. */
public enum ScaleRule {
  /**
   * {@code absmax / ((2^b − 1) / 2)}: the whole range of codes spans −absmax … absmax. GPTQ and
   * compressed-tensors files use it.
   */
  FULL_RANGE,
  /** {@code absmax / (2^(b−1) − 1)}: absmax is itself a code, and the lowest code is spare. */
  RESTRICTED_RANGE
}
