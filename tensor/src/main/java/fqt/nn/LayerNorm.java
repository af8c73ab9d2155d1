package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;

/** Layer norm over the last dimension (Ba, Kiros and Hinton 2016). */
public final class LayerNorm extends Module {
  private final float eps;

  /**
   * A norm over existing tensors.
   *
   * @param weight [features], any float type
   * @param bias like weight
   * @param eps added to the variance
   * @throws IllegalArgumentException if the weight is no float vector or the bias differs in shape
   */
  public LayerNorm(Tensor weight, Tensor bias, float eps) {
    this.eps = eps;
    parameter("weight", requireVector("weight of a norm", weight));
    parameter("bias", requireSameShape("bias", bias, weight));
  }

  /** {@return the weight, [features]} */
  public Tensor weight() {
    return parameters().get("weight");
  }

  /** {@return the bias, [features]} */
  public Tensor bias() {
    return parameters().get("bias");
  }

  /**
   * Replaces weight and bias by ones of the same shape.
   *
   * @param weight [features], any float type
   * @param bias [features], any float type
   */
  public void set(Tensor weight, Tensor bias) {
    parameter("weight", requireSameShape("weight", weight, weight()));
    parameter("bias", requireSameShape("bias", bias, bias()));
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    return Ops.layerNorm(input, weight(), bias(), eps);
  }

  static Tensor requireVector(String what, Tensor x) {
    if (x.rank() != 1 || !x.dtype().isFloat()) {
      throw new IllegalArgumentException(what + " is " + x + "; expected a float vector");
    }
    return x;
  }

  static Tensor requireSameShape(String what, Tensor x, Tensor like) {
    if (!x.shape().equals(like.shape())) {
      throw new IllegalArgumentException(
          what + " of a norm is " + x + "; expected shape " + like.shape());
    }
    return x;
  }
}
