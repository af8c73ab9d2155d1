package fqt.quant;

import fqt.quant.GptqConfig.ActOrder;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.Moments;
import fqt.tensor.BinaryOp;
import fqt.tensor.Cholesky;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What GPTQ needs of the Hessian {@code H = 2/T · Σ xᵀx} of a linear's squared output error over T
 * tokens; shared by all linears with the same inputs.
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
  /** No Hessian was asked for. */
  static final Factor NONE = new Factor(null, null, null, null, 0, 0, List.of());

  private static final double SMALLEST_RAISE = 0.01;

  /**
   * Factors the Hessian of some inputs.
   *
   * @param sum {@code Σ xᵀx}, whose memory this takes; null if no token was seen
   * @param least tokens that it must have seen
   * @param name of a linear that it belongs to, for errors
   * @throws IllegalArgumentException if it is not finite
   */
  static Factor of(ChunkSum sum, double least, GptqConfig config, String name) {
    long tokens = sum == null ? 0 : sum.rows();
    if (tokens == 0 || tokens < least) {
      String seen = tokens == 0 ? "no token" : "only %d tokens".formatted(tokens);
      String note = seen + " reached it: rounded to nearest";
      return new Factor(null, null, null, null, tokens, 0, List.of(note));
    }
    return of(hessian(sum), sum.spare(), tokens, config, name);
  }

  /** The Hessian of a sum, in the sum's memory. */
  static Tensor hessian(ChunkSum sum) {
    Tensor hessian = Moments.total(sum);
    try (Scope scope = Scope.open()) {
      Tensor mean = Ops.full(hessian.device(), DType.F32, 2f / sum.rows(), hessian.dim(1));
      Ops.binaryInto(BinaryOp.MULTIPLY, hessian, mean, hessian);
    }
    return hessian;
  }

  /**
   * Factors a Hessian, raising the damping until that succeeds.
   *
   * @param hessian F32 [inputs, inputs]; overwritten
   * @param spare memory of the same shape, which the factor takes
   */
  static Factor of(Tensor hessian, Tensor spare, long tokens, GptqConfig config, String name) {
    float[] diagonal = Host.floats(hessian.diagonal());
    int[] places =
        config.order() == ActOrder.NONE
            ? IntStream.range(0, diagonal.length).toArray()
            : Host.descending(diagonal);
    float[] alive = new float[diagonal.length];
    int live = 0;
    double sum = 0;
    for (int i = 0; i < alive.length; i++) {
      alive[i] = diagonal[i] == 0 ? 0 : 1;
      live += (int) alive[i];
      sum += diagonal[i];
    }
    double mean = live == 0 ? 1 : sum / live;
    if (!Double.isFinite(mean)) {
      throw new IllegalArgumentException(
          "the calibration inputs of " + name + " have values that are not finite");
    }
    List<String> notes = new ArrayList<>();
    if (live < alive.length) {
      notes.add((alive.length - live) + " of " + alive.length + " inputs were always zero");
    }
    for (int i = 0; i < alive.length; i++) {
      diagonal[i] = alive[i] == 0 ? (float) mean : diagonal[i];
    }
    double damping = config.damping();
    while (!Cholesky.inverseRootInto(hessian, diagonal, damping * mean, places, spare)) {
      if (damping == 1) {
        notes.add(
            "the Hessian is not positive definite with any damping up to 1: rounded to nearest");
        return new Factor(null, null, null, null, tokens, 1, notes);
      }
      damping = Math.clamp(2 * damping, SMALLEST_RAISE, 1);
    }
    if (damping > config.damping()) {
      notes.add(
          "the Hessian of %d tokens is not positive definite: damping raised from %s to %s"
              .formatted(tokens, config.damping(), damping));
    }
    return new Factor(spare, config.order(), places, alive, tokens, damping, notes);
  }
}
