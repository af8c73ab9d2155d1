package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;

/** Root-mean-square norm over the last dimension (Zhang and Sennrich 2019). */
public final class RmsNorm extends Module {
  private final float eps;

  /**
   * A norm over an existing weight.
   *
   * @param weight [features], any float type
   * @param eps added to the mean square
   * @throws IllegalArgumentException if the weight is no float vector
   */
  public RmsNorm(Tensor weight, float eps) {
    this.eps = eps;
    parameter("weight", LayerNorm.requireVector("weight of a norm", weight));
  }

  /** {@return the weight, [features]} */
  public Tensor weight() {
    return parameters().get("weight");
  }

  /**
   * Replaces the weight by one of the same shape.
   *
   * @param weight [features], any float type
   */
  public void setWeight(Tensor weight) {
    parameter("weight", LayerNorm.requireSameShape("weight", weight, weight()));
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    return Ops.rmsNorm(input, weight(), eps);
  }
}
