package fqt.quant;

import fqt.quant.GptqConfig.ActOrder;
import fqt.tensor.Host;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What GPTQ needs of a Hessian, shared by all linears with the same inputs.
 *
 * @param upper U with UᵀU = H⁻¹, columns in {@code places}; null if there is no usable Hessian
 * @param order in which order columns are quantized
 * @param places place among the inputs of each column that is quantized
 * @param alive 1 for each input, 0 for those that were zero for every token
 * @param tokens how many tokens the Hessian saw
 * @param damping what was added to its diagonal, relative to its mean
 * @param notes what a user should know
 */
record Factor(
    Tensor upper,
    ActOrder order,
    int[] places,
    float[] alive,
    long tokens,
    double damping,
    List<String> notes) {
  private static final double SMALLEST_RAISE = 0.01;

  /** No Hessian. */
  static Factor missing(long tokens, List<String> notes) {
    return new Factor(null, ActOrder.NONE, null, null, tokens, 0, notes);
  }

  /** Whether GPTQ can run. */
  boolean exists() {
    return upper != null;
  }

  /**
   * Factors a Hessian, raising the damping until that succeeds.
   *
   * @param hessian null if no token was seen
   * @param leastTokens what it must have seen
   * @param name of a linear that it belongs to, for errors
   * @throws IllegalArgumentException if it is not finite
   */
  static Factor of(Hessian hessian, double leastTokens, GptqConfig config, String name) {
    if (hessian == null) {
      return missing(0, List.of("no token reached it: rounded to nearest"));
    }
    long tokens = hessian.tokens();
    if (tokens < leastTokens) {
      String note = "only %d tokens reached it: rounded to nearest".formatted(tokens);
      return missing(tokens, List.of(note));
    }
    float[] diagonal = Host.floats(hessian.matrix().diagonal());
    int[] places = IntStream.range(0, diagonal.length).toArray();
    if (config.order() != ActOrder.NONE) {
      places = descending(diagonal);
    }
    long live = IntStream.range(0, diagonal.length).filter(i -> diagonal[i] != 0).count();
    double mean = live == 0 ? 1 : Host.sum(hessian.matrix().diagonal()) / live;
    if (!Double.isFinite(mean)) {
      throw new IllegalArgumentException(
          "the calibration inputs of " + name + " have values that are not finite");
    }
    float[] alive = new float[diagonal.length];
    for (int i = 0; i < alive.length; i++) {
      alive[i] = diagonal[i] == 0 ? 0 : 1;
      diagonal[i] = diagonal[i] == 0 ? (float) mean : diagonal[i];
    }
    List<String> notes = new ArrayList<>();
    if (live < alive.length) {
      notes.add((alive.length - live) + " of " + alive.length + " inputs were always zero");
    }
    for (double damping = config.damping(); damping <= 1; damping = raised(damping)) {
      Tensor upper = hessian.inverseFactor(places, diagonal, damping * mean);
      if (upper != null) {
        if (damping > config.damping()) {
          notes.add(
              "the Hessian of %d tokens is not positive definite: damping raised from %s to %s"
                  .formatted(tokens, config.damping(), damping));
        }
        return new Factor(upper, config.order(), places, alive, tokens, damping, notes);
      }
    }
    notes.add("the Hessian is not positive definite with any damping up to 1: rounded to nearest");
    return new Factor(null, config.order(), places, alive, tokens, 1, notes);
  }

  /** The places of a diagonal from its largest element to its smallest, ties by place. */
  static int[] descending(float[] diagonal) {
    return IntStream.range(0, diagonal.length)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> -diagonal[i]))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  private static double raised(double damping) {
    return damping == 1 ? 2 : Math.min(1, Math.max(SMALLEST_RAISE, 2 * damping));
  }
}
