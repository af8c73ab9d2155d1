package fqt.cuda;

/**
 * How a matrix multiply is to be done.
 *
 * @param accumulation how e4m3 products are added up
 * @param settledWeights whether B is not written by what was put into the stream last: by the
 *     kernel just before and, where that one may itself start early as products do, by those before
 *     it up to one that may not; B may then be fetched while they still run, which hides about two
 *     microseconds
 */
public record MatmulOptions(Accumulation accumulation, boolean settledWeights) {
  /** Sums in the tensor core; nothing is assumed of the weights. */
  public static final MatmulOptions FAST = new MatmulOptions(Accumulation.FAST, false);

  /** Sums of more than 128 products in float32; nothing is assumed of the weights. */
  public static final MatmulOptions PRECISE = new MatmulOptions(Accumulation.PRECISE, false);

  /** {@return the same with B known to be at rest, as the weights of a model are} */
  public MatmulOptions withSettledWeights() {
    return new MatmulOptions(accumulation, true);
  }
}
