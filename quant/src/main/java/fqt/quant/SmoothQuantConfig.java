package fqt.quant;

import fqt.quant.rules.LinearRules;

/**
 * Choices of the smoothing search. What becomes of the linears, {@link #wMethod}, {@link #aMethod},
 * {@link #groupSize} and {@link #linearType}, stands in the base scheme of the rules; whether there
 * is an {@code aMethod} decides whether the search is AWQ (weights only) or SmoothQuant (both).
 *
 * @param rules scheme of each linear
 * @param statistic what the candidates are made of
 * @param duoScale AWQ: whether the weights' size takes part besides the activations'
 * @param grid how many ratios from 0 to 1, without the latter, are tried besides the identity
 * @param alpha a fixed ratio, used without a search; NaN for the search
 * @param clip whether the range of every weight group is then searched too
 * @param searchTokens about how many calibration tokens candidates are judged on; statistics see
 *     all
 */
public record SmoothQuantConfig(
    LinearRules<Scheme> rules,
    Statistic statistic,
    boolean duoScale,
    int grid,
    double alpha,
    boolean clip,
    long searchTokens) {
  /** How factors follow from activations and weights, for a ratio r. */
  public enum Statistic {
    /**
     * AWQ (Lin et al. 2023): {@code mean|x|^r / mean(|w| / max of its group)^(1−r)}, the weights'
     * part only with {@code duoScale}; scaled to a geometric middle of 1.
     */
    MEAN,
    /** SmoothQuant (Xiao et al. 2022): {@code max|x|^r / max|w|^(1−r)}. */
    MAX
  }

  /** Checks the numbers. */
  public SmoothQuantConfig {
    if (grid < 1 || searchTokens < 1 || alpha < 0 || alpha > 1) {
      throw new IllegalArgumentException(
          "a grid of %d ratios on %d tokens, alpha %s; expected at least 1 of each, alpha 0 to 1"
              .formatted(grid, searchTokens, alpha));
    }
  }

  /** AWQ: 4-bit weights in groups of 128, 20 ratios of both scales, clip search. */
  public static SmoothQuantConfig awq() {
    LinearRules<Scheme> rules = LinearRules.all(Scheme.weightOnly(4, 128));
    return new SmoothQuantConfig(rules, Statistic.MEAN, true, 20, Double.NaN, true, 4096);
  }

  /** SmoothQuant: 8-bit integers on both sides, 20 ratios. */
  public static SmoothQuantConfig smoothQuant() {
    LinearRules<Scheme> rules = LinearRules.all(Scheme.w8a8Int8());
    return new SmoothQuantConfig(rules, Statistic.MAX, false, 20, Double.NaN, false, 4096);
  }

  /** How weights are quantized, unless a rule says otherwise. */
  public Quantizer wMethod() {
    return rules.base().weights();
  }

  /** How activations are quantized, unless a rule says otherwise; null for not at all. */
  public Quantizer aMethod() {
    return rules.base().activations();
  }

  /** Which quantized linear is put in, unless a rule says otherwise. */
  public LinearType linearType() {
    return rules.base().linearType();
  }

  /** Inputs that share a scale of the weight, unless a rule says otherwise; −1 for a whole row. */
  public long groupSize() {
    return wMethod().blocks().columns() == 0 ? -1 : wMethod().blocks().columns();
  }

  /** Whether a ratio is searched, rather than given. */
  boolean searches() {
    return Double.isNaN(alpha);
  }

  /** The same with other schemes. */
  public SmoothQuantConfig withRules(LinearRules<Scheme> newRules) {
    return new SmoothQuantConfig(newRules, statistic, duoScale, grid, alpha, clip, searchTokens);
  }

  private SmoothQuantConfig withScheme(Scheme scheme) {
    return withRules(rules.withBase(scheme));
  }

  /** The same with another quantizer of the weights. */
  public SmoothQuantConfig withWMethod(Quantizer weights) {
    return withScheme(rules.base().withWeights(weights));
  }

  /** The same with another quantizer of the activations, or none. */
  public SmoothQuantConfig withAMethod(Quantizer activations) {
    return withScheme(rules.base().withActivations(activations));
  }

  /** The same with another kind of quantized linear. */
  public SmoothQuantConfig withLinearType(LinearType type) {
    return withScheme(rules.base().withLinearType(type));
  }

  /** The same with groups of another size; −1 is one scale a row. */
  public SmoothQuantConfig withGroupSize(long groupSize) {
    return withScheme(rules.base().withGroupSize(groupSize));
  }

  /** The same with or without the weights' part in AWQ's candidates. */
  public SmoothQuantConfig withDuoScale(boolean duo) {
    return new SmoothQuantConfig(rules, statistic, duo, grid, alpha, clip, searchTokens);
  }

  /** The same with another number of ratios. */
  public SmoothQuantConfig withGrid(int ratios) {
    return new SmoothQuantConfig(rules, statistic, duoScale, ratios, alpha, clip, searchTokens);
  }

  /** The same with a fixed ratio, or NaN for the search. */
  public SmoothQuantConfig withAlpha(double fixed) {
    return new SmoothQuantConfig(rules, statistic, duoScale, grid, fixed, clip, searchTokens);
  }

  /** The same with or without the clip search. */
  public SmoothQuantConfig withClip(boolean search) {
    return new SmoothQuantConfig(rules, statistic, duoScale, grid, alpha, search, searchTokens);
  }

  /** The same with candidates judged on about so many tokens. */
  public SmoothQuantConfig withSearchTokens(long count) {
    return new SmoothQuantConfig(rules, statistic, duoScale, grid, alpha, clip, count);
  }
}
