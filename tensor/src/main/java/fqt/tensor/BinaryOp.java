package fqt.tensor;

/** Operations on two numbers. */
public enum BinaryOp {
  /** a + b. */
  ADD,
  /** a − b. */
  SUBTRACT,
  /** a · b. */
  MULTIPLY,
  /** a / b. */
  DIVIDE,
  /** The smaller; NaN if either is. */
  MIN,
  /** The larger; NaN if either is. */
  MAX
}
