package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;

/**
 * {@code y = x Wᵀ + b} with a weight of a few bits, unpacked inside the matrix kernel; activations
 * stay in floating point.
 */
public final class QuantLinear extends Module {
  private final PackedWeight weight;

  /**
   * A linear over a packed weight.
   *
   * @param weight [outputs, inputs]
   * @param bias [outputs], any float type, or null
   */
  public QuantLinear(PackedWeight weight, Tensor bias) {
    this.weight = weight;
    parameter("codes", weight.codes());
    parameter("scales", weight.scales());
    parameter("zeros", weight.zeros());
    parameter("group_index", weight.groupIndex());
    parameter("bias", bias);
  }

  /** {@return the weight} */
  public PackedWeight weight() {
    return weight;
  }

  /** {@return the bias, [outputs], or null} */
  public Tensor bias() {
    return parameters().get("bias");
  }

  /** {@return the weight that the codes stand for, F32 [outputs, inputs]} */
  public Tensor dequantize() {
    return QuantOps.dequantize(weight);
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    return QuantOps.packedLinear(input, weight, bias());
  }
}
