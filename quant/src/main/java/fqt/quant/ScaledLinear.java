package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;

/**
 * {@code y = x Wᵀ + b} computed on 8-bit codes of both sides: the weight has one scale an output,
 * and every input is quantized as it comes, with one scale a token or one in all. Integer sums are
 * exact.
 */
public abstract sealed class ScaledLinear extends Module permits Int8Linear, Fp8Linear {
  private final CodeType codes;
  private final Quantizer activations;

  ScaledLinear(CodeType codes, Tensor weight, Tensor scales, Tensor bias, Quantizer activations) {
    this.codes = codes;
    DType type = codes == CodeType.INTEGER ? DType.I8 : DType.F8_E4M3;
    Blocks blocks = activations.blocks();
    boolean whole = blocks.equals(Blocks.PER_TENSOR) || blocks.equals(Blocks.PER_ROW);
    if (activations.codes() != codes
        || activations.bits() != 8
        || !activations.symmetric()
        || !whole) {
      throw new IllegalArgumentException(
          "inputs quantized to %s; expected symmetric %s of 8 bits by row or by tensor"
              .formatted(activations, codes));
    }
    if (weight.rank() != 2
        || weight.dtype() != type
        || !scales.shape().equals(Shape.of(weight.dim(0), 1))) {
      throw new IllegalArgumentException(
          "weight %s with scales %s; expected a matrix of %s with one scale an output"
              .formatted(weight, scales, type));
    }
    this.activations = activations;
    parameter("weight", weight);
    parameter("weight_scale", scales);
    parameter("bias", bias);
  }

  /**
   * The linear of a quantized weight.
   *
   * @param weight symmetric 8-bit integers or floats, one scale an output or one in all
   * @return in the current scope
   */
  static ScaledLinear of(QuantizedWeight weight, Tensor bias, Quantizer activations) {
    try (Scope scope = Scope.open()) {
      Tensor stored = weight.codes();
      if (stored.dtype() == DType.U8) {
        stored = Ops.to(Ops.affine(Ops.to(stored, DType.F32), 1, -128), DType.I8);
      }
      Tensor scale = weight.scale();
      if (scale.dim(0) != weight.outputs()) {
        scale = Ops.full(scale.device(), DType.F32, Host.floats(scale)[0], weight.outputs(), 1);
      }
      Tensor kept = Ops.copy(Ops.to(scale, weight.quantizer().scaleType()));
      return Scheme.keep(
          scope,
          activations.codes() == CodeType.INTEGER
              ? new Int8Linear(stored, kept, bias, activations)
              : new Fp8Linear(stored, kept, bias, activations));
    }
  }

  /** The codes of the weight, I8 or F8_E4M3 [outputs, inputs]. */
  public final Tensor weight() {
    return parameters().get("weight");
  }

  /** The scales of the weight, [outputs, 1]. */
  public final Tensor scales() {
    return parameters().get("weight_scale");
  }

  /** The bias, [outputs], or null. */
  public final Tensor bias() {
    return parameters().get("bias");
  }

  /** How inputs are quantized. */
  public final Quantizer activations() {
    return activations;
  }

  /** The weight that the codes stand for, F32 [outputs, inputs]. */
  public final Tensor dequantize() {
    try (Scope scope = Scope.open()) {
      Tensor scale = Ops.to(scales(), DType.F32);
      return scope.keep(Ops.dequantize(weight(), Blocks.PER_ROW, scale, null, DType.F32));
    }
  }

  @Override
  protected final Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor rows = FakeQuantLinear.rows(input);
      Tensor scale = activations.fit(rows).scale();
      boolean integer = codes == CodeType.INTEGER;
      Tensor x =
          integer
              ? Ops.quantize(rows, activations.blocks(), scale, null, -128, 127, DType.I8)
              : activations.encode(rows, new Quantizer.Params(scale, null));
      Tensor perRow =
          scale.count() == rows.dim(0)
              ? scale.reshape(-1)
              : Ops.gatherRows(scale, everyRow(rows)).reshape(-1);
      Tensor perOutput = Ops.to(scales(), DType.F32).reshape(-1);
      Tensor out = Ops.scaledLinear(x, perRow, weight(), perOutput, bias());
      return scope.keep(FakeQuantLinear.restore(out, input));
    }
  }

  private static Tensor everyRow(Tensor rows) {
    return Ops.full(rows.device(), DType.I32, 0, rows.dim(0));
  }
}
