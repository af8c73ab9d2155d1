package fqt.quant;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.function.UnaryOperator;

/**
 * A quantized weight before it is stored: what every algorithm produces and every format writes.
 *
 * @param quantizer what the codes mean
 * @param codes U8 or F8_E4M3 [outputs, inputs]
 * @param scale F32, one a block, every value exact in the quantizer's scale type
 * @param zero F32 like scale, or null for float codes
 * @param groupIndex I32 [inputs], the group of each input where groups are not neighbours (GPTQ's
 *     g_idx); usually null
 */
public record QuantizedWeight(
    Quantizer quantizer, Tensor codes, Tensor scale, Tensor zero, Tensor groupIndex) {
  /** The same with each of its tensors changed, such as copied. */
  QuantizedWeight map(UnaryOperator<Tensor> change) {
    return new QuantizedWeight(
        quantizer,
        change.apply(codes),
        change.apply(scale),
        zero == null ? null : change.apply(zero),
        groupIndex == null ? null : change.apply(groupIndex));
  }

  /** Outputs. */
  public long outputs() {
    return codes.dim(0);
  }

  /** Inputs. */
  public long inputs() {
    return codes.dim(1);
  }

  /** Inputs that share a scale. */
  public long groupSize() {
    return quantizer.blocks().columnsOf(inputs());
  }

  /** The weight that this stands for, F32 [outputs, inputs]. */
  public Tensor dequantize() {
    if (groupIndex == null) {
      return Ops.dequantize(codes, quantizer.blocks(), scale, zero, DType.F32);
    }
    try (Scope scope = Scope.open()) {
      Tensor scales = Host.columns(scale, groupIndex);
      Tensor zeros = Host.columns(zero, groupIndex);
      return scope.keep(Ops.dequantize(codes, new Blocks(1, 1), scales, zeros, DType.F32));
    }
  }

  /**
   * The codes in as few bits as they have.
   *
   * @throws IllegalStateException if codes are floats or blocks are not parts of one row
   */
  public PackedWeight pack() {
    if (quantizer.codes() != CodeType.INTEGER || scale.dim(0) != outputs()) {
      throw new IllegalStateException(
          "weight of " + quantizer + " cannot be packed; expected integers with scales by row");
    }
    try (Scope scope = Scope.open()) {
      Tensor words = scope.keep(Ops.pack(codes, quantizer.bits()));
      Tensor scales = scope.keep(Ops.copy(Ops.to(scale, quantizer.scaleType())));
      Tensor zeros = quantizer.symmetric() ? null : scope.keep(Ops.to(zero, DType.U8));
      return new PackedWeight(
          quantizer.bits(), inputs(), groupSize(), words, scales, zeros, groupIndex);
    }
  }
}
