package fqt.tensor;

/** Ways to make one number of many. */
public enum ReduceOp {
  /** Σ x. */
  SUM,
  /** Σ x / n. */
  MEAN,
  /** Σ |x| / n. */
  MEAN_ABS,
  /** Σ x². */
  SUM_SQUARES,
  /** The smallest. */
  MIN,
  /** The largest. */
  MAX,
  /** The largest |x|. */
  MAX_ABS
}
