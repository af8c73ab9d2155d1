package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/**
 * {@code y = x Wᵀ + b} in floating point with a weight, and if wanted an input, that went through
 * quantization and back: any bits and any granularity, for study and as the measure of the linears
 * that really compute on codes.
 */
public final class FakeQuantLinear extends Module {
  private final Scheme scheme;

  /**
   * A linear whose weight is already rounded.
   *
   * @param weight F32 [outputs, inputs], what the codes stand for
   * @param bias [outputs], any float type, or null
   * @param scheme what the weight went through, and what inputs will
   */
  public FakeQuantLinear(Tensor weight, Tensor bias, Scheme scheme) {
    this.scheme = scheme;
    parameter("weight", weight);
    parameter("bias", bias);
  }

  /** Rounds a linear's weight to nearest; in the current scope. */
  public static FakeQuantLinear fromModule(Linear linear, Scheme scheme) {
    try (Scope scope = Scope.open()) {
      Tensor weight = Ops.to(Ops.contiguous(linear.weight()), DType.F32);
      Tensor rounded = scope.keep(scheme.weights().fake(weight));
      return new FakeQuantLinear(rounded, linear.bias(), scheme);
    }
  }

  /** The rounded weight, F32 [outputs, inputs]. */
  public Tensor weight() {
    return parameters().get("weight");
  }

  /** The bias, [outputs], or null. */
  public Tensor bias() {
    return parameters().get("bias");
  }

  /** What weight and inputs go through. */
  public Scheme scheme() {
    return scheme;
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    if (scheme.activations() == null) {
      return Ops.linear(input, weight(), bias());
    }
    try (Scope scope = Scope.open()) {
      Tensor rounded = scheme.activations().fake(rows(input));
      return scope.keep(restore(Ops.linear(rounded, weight(), bias()), input));
    }
  }

  /** A tensor [..., features] as a matrix. */
  static Tensor rows(Tensor x) {
    Tensor dense = Ops.contiguous(x);
    return x.rank() == 2 ? dense : dense.reshape(-1, x.dim(-1));
  }

  /** Rows of an output in the shape of the input they come from. */
  static Tensor restore(Tensor rows, Tensor input) {
    return input.rank() == 2 ? rows : rows.reshape(input.shape().with(-1, rows.dim(1)).toArray());
  }
}
