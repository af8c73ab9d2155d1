package fqt.cuda;

/**
 * How sums of e4m3 products are kept. Tensor cores of compute capability 9.0 add them with about 14
 * bits, so the error grows with the length of the sum (DeepSeek-V3 technical report, section 3.3).
 * Integer and bfloat16 products are not affected.
 */
public enum Accumulation {
  /** In the tensor core, for the whole length. */
  FAST,
  /** In the tensor core for 128 elements at a time, and from there in float32. */
  PRECISE
}
