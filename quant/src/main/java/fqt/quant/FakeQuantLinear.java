package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Host;
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
    this(weight, bias, scheme, null);
  }

  /** The same with inputs whose columns are first divided by factors, F32 [inputs], or null. */
  FakeQuantLinear(Tensor weight, Tensor bias, Scheme scheme, Tensor factors) {
    this.scheme = scheme;
    parameter("weight", weight);
    parameter("bias", bias);
    parameter("factors", factors);
  }

  /**
   * {@return a linear whose weight is rounded to nearest, in the current scope}
   *
   * @param linear the linear to round
   * @param scheme what its weight and its inputs go through
   */
  public static FakeQuantLinear fromModule(Linear linear, Scheme scheme) {
    return (FakeQuantLinear) scheme.withLinearType(LinearType.FAKE).quantize(linear);
  }

  /** {@return the rounded weight, F32 [outputs, inputs]} */
  public Tensor weight() {
    return parameters().get("weight");
  }

  /** {@return the bias, [outputs], or null} */
  public Tensor bias() {
    return parameters().get("bias");
  }

  /** {@return what weight and inputs go through} */
  public Scheme scheme() {
    return scheme;
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor factors = parameters().get("factors");
      Tensor x = factors == null ? input : Ops.divide(input, factors);
      if (scheme.activations() != null) {
        x = scheme.activations().fake(Host.rows(x)).reshape(x.shape().toArray());
      }
      return scope.keep(Ops.linear(x, weight(), bias()));
    }
  }
}
