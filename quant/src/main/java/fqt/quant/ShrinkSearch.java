package fqt.quant;

import fqt.tensor.Scope;
import java.util.Arrays;
import java.util.function.Function;

/**
 * Finds, for each block of a weight, how far its range should shrink for the least error: clipping
 * a few outliers buys finer steps for all the rest.
 */
final class ShrinkSearch {
  private ShrinkSearch() {}

  /**
   * The best of the ranges 1, 1 − step, 1 − 2 step … for each block; the widest of equals.
   *
   * @param steps the step is one part of so many
   * @param candidates how many are tried
   * @param errors the errors of all blocks if the ranges of all shrink so far
   */
  static float[] best(int steps, int candidates, Function<Float, float[]> errors) {
    float[] least = null;
    float[] best = null;
    for (int i = 0; i < candidates; i++) {
      float shrink = 1 - (float) i / steps;
      try (Scope scope = Scope.open()) {
        float[] error = errors.apply(shrink);
        if (best == null) {
          least = error;
          best = new float[error.length];
          Arrays.fill(best, shrink);
        }
        for (int j = 0; j < error.length; j++) {
          if (error[j] < least[j]) {
            least[j] = error[j];
            best[j] = shrink;
          }
        }
      }
    }
    return best;
  }
}
