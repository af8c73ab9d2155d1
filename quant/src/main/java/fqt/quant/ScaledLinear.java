package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;

/**
 * {@code y = x Wᵀ + b} computed on 8-bit codes of both sides: the weight has one scale an output,
 * and every input is quantized as it comes, with one scale a token or one in all. Integer sums are
 * exact.
 */
public abstract sealed class ScaledLinear extends Module permits Int8Linear, Fp8Linear {
  private final Quantizer activations;

  ScaledLinear(DType type, Tensor weight, Tensor scales, Tensor bias, Quantizer activations) {
    if (!isCodeOfWholeRows(activations)
        || activations.isInteger() != (type == DType.I8)
        || weight.rank() != 2
        || weight.dtype() != type
        || !scales.shape().equals(Shape.of(weight.dim(0), 1))) {
      throw new IllegalArgumentException(
          ("weight %s with scales %s and inputs quantized to %s; expected a matrix of %s with one"
                  + " scale an output, and inputs symmetric of 8 bits by row or by tensor")
              .formatted(weight, scales, activations, type));
    }
    this.activations = activations;
    parameter("weight", weight);
    parameter("weight_scale", scales);
    parameter("bias", bias);
  }

  /** Whether a quantizer makes what such a linear computes on. */
  static boolean isCodeOfWholeRows(Quantizer quantizer) {
    return quantizer.bits() == 8
        && quantizer.symmetric()
        && (quantizer.blocks().equals(Blocks.PER_ROW)
            || quantizer.blocks().equals(Blocks.PER_TENSOR));
  }

  /**
   * The linear of a quantized weight.
   *
   * @param weight symmetric 8-bit integers or floats, one scale an output or one in all
   * @return in the current scope
   */
  static ScaledLinear of(QuantizedWeight weight, Tensor bias, Quantizer activations) {
    try (Scope scope = Scope.open()) {
      Tensor scale = Quantizer.forRows(weight.scale(), weight.codes().dim(0));
      Tensor scales = Ops.copy(Ops.to(scale, weight.quantizer().scaleType()));
      if (!activations.isInteger()) {
        return Module.keep(scope, new Fp8Linear(weight.codes(), scales, bias, activations));
      }
      Tensor centred = Ops.affine(Ops.to(weight.codes(), DType.F32), 1, -128);
      Tensor codes = Ops.to(centred, DType.I8);
      return Module.keep(scope, new Int8Linear(codes, scales, bias, activations));
    }
  }

  /** {@return the codes of the weight, I8 or F8_E4M3 [outputs, inputs]} */
  public final Tensor weight() {
    return parameters().get("weight");
  }

  /** {@return the scales of the weight, [outputs, 1]} */
  public final Tensor scales() {
    return parameters().get("weight_scale");
  }

  /** {@return the bias, [outputs], or null} */
  public final Tensor bias() {
    return parameters().get("bias");
  }

  /** {@return how inputs are quantized} */
  public final Quantizer activations() {
    return activations;
  }

  /** {@return the weight that the codes stand for, F32 [outputs, inputs]} */
  public final Tensor dequantize() {
    try (Scope scope = Scope.open()) {
      Tensor scale = Ops.to(scales(), DType.F32);
      return scope.keep(QuantOps.dequantize(weight(), Blocks.PER_ROW, scale, null, DType.F32));
    }
  }

  @Override
  protected final Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor rows = Host.rows(input);
      Tensor perOutput = Ops.to(scales(), DType.F32).reshape(-1);
      // Last before the product: a GPU that sees it so fetches the weight while it is still
      // written.
      QuantOps.RowCodes x = activations.encodeRows(rows);
      Tensor perRow = x.scale().reshape(-1);
      Tensor out = QuantOps.scaledLinear(x.codes(), perRow, weight(), perOutput, bias());
      return scope.keep(out.reshape(input.shape().with(-1, out.dim(1)).toArray()));
    }
  }
}
