package fqt.quant;

import fqt.quant.rules.LinearRules;

/**
 * Choices of GPTQ.
 *
 * @param rules scheme of each linear
 * @param damping added to the Hessian's diagonal, relative to its mean; doubled, up to 1, while the
 *     Hessian is not positive definite
 * @param order in which order columns are quantized
 * @param trueSequential whether the inputs of later linears of a block are taken with the earlier
 *     ones quantized already; otherwise one pass over the block gives all Hessians
 * @param allExperts whether every expert of a mixture learns from every token; otherwise only from
 *     those routed to it. The outputs come from the real routing either way
 * @param leastShare a linear that a smaller share of the calibration tokens reached is rounded to
 *     nearest, in the same scheme
 */
public record GptqConfig(
    LinearRules<Scheme> rules,
    double damping,
    ActOrder order,
    boolean trueSequential,
    boolean allExperts,
    double leastShare) {
  /** Order of the columns. */
  public enum ActOrder {
    /** As stored; a group's scale is taken when its first column is reached. */
    NONE,
    /** Largest diagonal of the Hessian first; scales are those of the original groups. */
    STATIC,
    /**
     * Largest diagonal of the Hessian first; groups are neighbours in that order, which the
     * checkpoint must tell (g_idx).
     */
    DYNAMIC
  }

  /** Checks the numbers. */
  public GptqConfig {
    if (!(damping >= 0 && damping <= 1 && leastShare >= 0 && leastShare <= 1)) {
      throw new IllegalArgumentException(
          "damping %s and least share of the tokens %s; expected 0 to 1"
              .formatted(damping, leastShare));
    }
  }

  /**
   * {@return the usual choices: 4 bits symmetric in groups of 128, damping 0.01, static act-order,
   * true sequential}
   */
  public static GptqConfig defaults() {
    return new GptqConfig(
        LinearRules.all(Scheme.weightOnly(4, 128)), 0.01, ActOrder.STATIC, true, true, 0.005);
  }

  /**
   * {@return the same with other schemes}
   *
   * @param newRules scheme of each linear
   */
  public GptqConfig withRules(LinearRules<Scheme> newRules) {
    return new GptqConfig(newRules, damping, order, trueSequential, allExperts, leastShare);
  }

  /**
   * {@return the same with another scheme for every linear}
   *
   * @param scheme what every linear gets that no rule names
   */
  public GptqConfig withScheme(Scheme scheme) {
    return withRules(rules.withBase(scheme));
  }

  /**
   * {@return the same with another damping}
   *
   * @param newDamping relative to the mean of the Hessian's diagonal, 0 to 1
   */
  public GptqConfig withDamping(double newDamping) {
    return new GptqConfig(rules, newDamping, order, trueSequential, allExperts, leastShare);
  }

  /**
   * {@return the same with another order}
   *
   * @param newOrder in which order columns are quantized
   */
  public GptqConfig withOrder(ActOrder newOrder) {
    return new GptqConfig(rules, damping, newOrder, trueSequential, allExperts, leastShare);
  }

  /**
   * {@return the same with or without true sequence}
   *
   * @param sequential whether later linears see the earlier ones quantized
   */
  public GptqConfig withTrueSequential(boolean sequential) {
    return new GptqConfig(rules, damping, order, sequential, allExperts, leastShare);
  }

  /**
   * {@return the same with experts that learn from every token, or only from their own}
   *
   * @param all whether every expert learns from every token
   */
  public GptqConfig withAllExperts(boolean all) {
    return new GptqConfig(rules, damping, order, trueSequential, all, leastShare);
  }

  /**
   * {@return the same with another share of the tokens below which a linear is rounded to nearest}
   *
   * @param share 0 to 1
   */
  public GptqConfig withLeastShare(double share) {
    return new GptqConfig(rules, damping, order, trueSequential, allExperts, share);
  }
}
