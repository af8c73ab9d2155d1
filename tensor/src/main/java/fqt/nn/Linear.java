package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.function.BiPredicate;
import java.util.function.Function;

/** {@code y = x Wᵀ + b}. */
public final class Linear extends Module {
  /**
   * A linear layer over existing tensors.
   *
   * @param weight [outputs, inputs], any float type
   * @param bias [outputs], any float type, or null
   * @throws IllegalArgumentException if the shapes do not fit
   */
  public Linear(Tensor weight, Tensor bias) {
    if (weight.rank() != 2 || !weight.dtype().isFloat()) {
      throw new IllegalArgumentException(
          "weight of a linear is " + weight + "; expected a float matrix");
    }
    if (bias != null && !bias.shape().equals(Shape.of(weight.dim(0)))) {
      throw new IllegalArgumentException(
          "bias of a linear is " + bias + "; expected shape [" + weight.dim(0) + "]");
    }
    parameter("weight", weight);
    parameter("bias", bias);
  }

  /**
   * Puts other modules in the places of linears.
   *
   * @param root the module below which to look
   * @param factory what replaces a linear
   * @param filter which linears, by path below the root
   */
  public static void replaceLinears(
      Module root, Function<Linear, Module> factory, BiPredicate<String, Linear> filter) {
    root.visit(
        (path, module) -> {
          if (module instanceof Linear linear && !path.isEmpty() && filter.test(path, linear)) {
            root.place(path).set(factory.apply(linear));
          }
        });
  }

  /** {@return the weight, [outputs, inputs]} */
  public Tensor weight() {
    return parameters().get("weight");
  }

  /** {@return the bias, [outputs], or null} */
  public Tensor bias() {
    return parameters().get("bias");
  }

  /**
   * Replaces the weight by one of the same shape.
   *
   * @param weight [outputs, inputs], any float type
   */
  public void setWeight(Tensor weight) {
    if (!weight.shape().equals(weight().shape())) {
      throw new IllegalArgumentException(
          "new weight is " + weight + "; expected shape " + weight().shape());
    }
    parameter("weight", weight);
  }

  /**
   * Replaces the bias by one of the same shape.
   *
   * @param bias [outputs], any float type
   * @throws IllegalArgumentException if there is no bias to replace, or the shapes differ
   */
  public void setBias(Tensor bias) {
    if (bias() == null || !bias.shape().equals(bias().shape())) {
      throw new IllegalArgumentException("new bias is " + bias + " in place of " + bias());
    }
    parameter("bias", bias);
  }

  /** {@return how many input features there are} */
  public long inputs() {
    return weight().dim(1);
  }

  /** {@return how many output features there are} */
  public long outputs() {
    return weight().dim(0);
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    return Ops.linear(input, weight(), bias());
  }
}
