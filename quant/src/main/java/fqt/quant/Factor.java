package fqt.quant;

import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What GPTQ needs of a Hessian, shared by all linears with the same inputs.
 *
 * @param upper U with UᵀU = H⁻¹, columns in {@code order}; null if there is no usable Hessian
 * @param order place among the inputs of each column that is quantized
 * @param dead inputs that were zero for every token
 * @param tokens how many tokens the Hessian saw
 * @param damping what was added to its diagonal, relative to its mean
 * @param notes what a user should know
 */
record Factor(
    Tensor upper, int[] order, int[] dead, long tokens, double damping, List<String> notes) {
  private static final double SMALLEST_RAISE = 0.01;

  /** No Hessian, for this reason. */
  static Factor missing(String note, long tokens) {
    return new Factor(null, new int[0], new int[0], tokens, 0, List.of(note));
  }

  /** Whether GPTQ can run. */
  boolean exists() {
    return upper != null;
  }

  /**
   * Factors a Hessian, raising the damping until that succeeds.
   *
   * @param name of a linear that it belongs to, for errors
   * @throws IllegalArgumentException if it is not finite
   */
  static Factor of(Hessian hessian, GptqConfig config, String name) {
    float[] diagonal = hessian.diagonal();
    int[] order =
        config.order() == GptqConfig.ActOrder.NONE
            ? IntStream.range(0, diagonal.length).toArray()
            : Hessian.descending(diagonal);
    int[] dead = IntStream.range(0, diagonal.length).filter(i -> diagonal[i] == 0).toArray();
    int live = diagonal.length - dead.length;
    double mean = live == 0 ? 1 : sum(diagonal) / live;
    if (!Double.isFinite(mean)) {
      throw new IllegalArgumentException(
          "the calibration inputs of " + name + " have values that are not finite");
    }
    for (int column : dead) {
      diagonal[column] = (float) mean;
    }
    List<String> notes = new ArrayList<>();
    if (dead.length > 0) {
      notes.add(dead.length + " of " + diagonal.length + " inputs were always zero");
    }
    for (double damping = config.damping(); damping <= 1; damping = raised(damping)) {
      Tensor upper = hessian.inverseFactor(order, diagonal, damping * mean);
      if (upper != null) {
        if (damping > config.damping()) {
          notes.add(
              "the Hessian of %d tokens is not positive definite: damping raised from %s to %s"
                  .formatted(hessian.tokens(), config.damping(), damping));
        }
        return new Factor(upper, order, dead, hessian.tokens(), damping, notes);
      }
    }
    notes.add("the Hessian is not positive definite with any damping up to 1: rounded to nearest");
    return new Factor(null, order, dead, hessian.tokens(), 1, notes);
  }

  private static double sum(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    return sum;
  }

  private static double raised(double damping) {
    return damping == 1 ? 2 : Math.min(1, Math.max(SMALLEST_RAISE, 2 * damping));
  }
}
