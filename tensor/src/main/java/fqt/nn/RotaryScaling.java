package fqt.nn;

/**
 * How rotary frequencies are stretched so that a model reads texts longer than it was trained on.
 */
public sealed interface RotaryScaling {
  /** Frequencies as they are. */
  record None() implements RotaryScaling {}

  /**
   * All frequencies divided by a factor (Chen et al. 2023, position interpolation).
   *
   * @param factor how many times longer
   */
  record Linear(double factor) implements RotaryScaling {}

  /**
   * Low frequencies divided, high ones kept, a linear ramp over the rest (Peng et al. 2023, YaRN).
   *
   * @param factor how many times longer
   * @param betaFast rotations over the original length above which a frequency is kept
   * @param betaSlow rotations below which it is divided by the whole factor
   * @param attentionFactor factor of both tables
   * @param originalLength length of the training texts
   * @param truncate whether the ends of the ramp are rounded outward to whole dimensions
   */
  record Yarn(
      double factor,
      double betaFast,
      double betaSlow,
      double attentionFactor,
      double originalLength,
      boolean truncate)
      implements RotaryScaling {
    /**
     * {@return the attention factor that the paper proposes for a stretch: 0.1 ln(factor) + 1}
     *
     * @param factor how many times longer texts get; up to 1 gives 1
     */
    public static double defaultAttentionFactor(double factor) {
      return factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1;
    }
  }

  /**
   * Wavelengths above the original length over {@code lowFactor} divided, those below the original
   * length over {@code highFactor} kept, a smooth mix between (Llama 3.1).
   *
   * @param factor how many times longer
   * @param lowFactor low_freq_factor
   * @param highFactor high_freq_factor
   * @param originalLength length of the training texts
   */
  record Llama3(double factor, double lowFactor, double highFactor, double originalLength)
      implements RotaryScaling {}
}
