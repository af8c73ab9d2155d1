package fqt.quant;

import fqt.quant.rules.LinearRules;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/**
 * Choices of the smoothing search. What becomes of the linears, {@code wMethod}, {@code aMethod},
 * {@code groupSize} and {@code linearType}, stands in the base scheme of the rules; whether there
 * is an {@code aMethod} decides whether the search is AWQ (weights only) or SmoothQuant (both).
 *
 * @param rules scheme of each linear
 * @param mean whether candidates are made of means, as those of AWQ, or of maxima
 * @param duoScale AWQ: whether the weights' size takes part besides the activations'
 * @param grid how many ratios from 0 to 1, without the latter, are tried besides the identity
 * @param alpha a fixed ratio, used without a search; NaN for the search
 * @param clip whether the range of every weight group is then searched too
 * @param searchTokens about how many calibration tokens candidates are judged on; statistics see
 *     all
 */
public record SmoothQuantConfig(
    LinearRules<Scheme> rules,
    boolean mean,
    boolean duoScale,
    int grid,
    double alpha,
    boolean clip,
    long searchTokens) {
  /** Checks the numbers. */
  public SmoothQuantConfig {
    if (grid < 1 || searchTokens < 1 || alpha < 0 || alpha > 1) {
      throw new IllegalArgumentException(
          "a grid of %d ratios on %d tokens, alpha %s; expected at least 1 of each, alpha 0 to 1"
              .formatted(grid, searchTokens, alpha));
    }
  }

  /**
   * {@return the choices of AWQ: 4-bit weights in groups of 128, 20 ratios of both scales, clip
   * search}
   */
  public static SmoothQuantConfig awq() {
    LinearRules<Scheme> rules = LinearRules.all(Scheme.weightOnly(4, 128));
    return new SmoothQuantConfig(rules, true, true, 20, Double.NaN, true, 4096);
  }

  /** {@return the choices of SmoothQuant: 8-bit integers on both sides, 20 ratios} */
  public static SmoothQuantConfig smoothQuant() {
    LinearRules<Scheme> rules = LinearRules.all(Scheme.w8a8Int8());
    return new SmoothQuantConfig(rules, false, false, 20, Double.NaN, false, 4096);
  }

  /** Whether a ratio is searched, rather than given. */
  boolean searches() {
    return Double.isNaN(alpha);
  }

  /** The ratios to try. */
  double[] ratios() {
    IntStream steps = IntStream.range(0, searches() ? grid : 1);
    return steps.mapToDouble(i -> searches() ? (double) i / grid : alpha).toArray();
  }

  /**
   * {@return the same with other schemes}
   *
   * @param newRules scheme of each linear
   */
  public SmoothQuantConfig withRules(LinearRules<Scheme> newRules) {
    return new SmoothQuantConfig(newRules, mean, duoScale, grid, alpha, clip, searchTokens);
  }

  private SmoothQuantConfig withScheme(UnaryOperator<Scheme> change) {
    return withRules(rules.withBase(change.apply(rules.base())));
  }

  /**
   * {@return the same with another quantizer of the weights}
   *
   * @param wMethod of the weight, [outputs, inputs]
   */
  public SmoothQuantConfig withWMethod(Quantizer wMethod) {
    return withScheme(scheme -> scheme.withWeights(wMethod));
  }

  /**
   * {@return the same with another quantizer of the activations, or none}
   *
   * @param aMethod of the input, [tokens, inputs], or null: then the search is AWQ
   */
  public SmoothQuantConfig withAMethod(Quantizer aMethod) {
    return withScheme(scheme -> scheme.withActivations(aMethod));
  }

  /**
   * {@return the same with another kind of quantized linear}
   *
   * @param linearType what takes the place of a linear
   */
  public SmoothQuantConfig withLinearType(LinearType linearType) {
    return withScheme(scheme -> scheme.withLinearType(linearType));
  }

  /**
   * {@return the same with groups of another size; −1 is one scale a row}
   *
   * @param groupSize inputs that share a scale; −1 for one scale a row
   */
  public SmoothQuantConfig withGroupSize(long groupSize) {
    return withScheme(scheme -> scheme.withGroupSize(groupSize));
  }

  /**
   * {@return the same with or without the weights' part in AWQ's candidates}
   *
   * @param duo whether the weights' size takes part besides the activations'
   */
  public SmoothQuantConfig withDuoScale(boolean duo) {
    return new SmoothQuantConfig(rules, mean, duo, grid, alpha, clip, searchTokens);
  }

  /**
   * {@return the same with another number of ratios}
   *
   * @param ratios how many from 0 to 1 are tried, at least 1
   */
  public SmoothQuantConfig withGrid(int ratios) {
    return new SmoothQuantConfig(rules, mean, duoScale, ratios, alpha, clip, searchTokens);
  }

  /**
   * {@return the same with a fixed ratio, or NaN for the search}
   *
   * @param fixed 0 to 1, or NaN
   */
  public SmoothQuantConfig withAlpha(double fixed) {
    return new SmoothQuantConfig(rules, mean, duoScale, grid, fixed, clip, searchTokens);
  }

  /**
   * {@return the same with or without the clip search}
   *
   * @param search whether the range of every weight group is searched
   */
  public SmoothQuantConfig withClip(boolean search) {
    return new SmoothQuantConfig(rules, mean, duoScale, grid, alpha, search, searchTokens);
  }

  /**
   * {@return the same with candidates judged on about so many tokens}
   *
   * @param count about how many calibration tokens, at least 1; statistics see all
   */
  public SmoothQuantConfig withSearchTokens(long count) {
    return new SmoothQuantConfig(rules, mean, duoScale, grid, alpha, clip, count);
  }
}
