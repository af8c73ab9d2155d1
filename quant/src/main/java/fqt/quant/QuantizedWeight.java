package fqt.quant;

import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.ReduceOp;
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
  /**
   * Checks the scales.
   *
   * @throws IllegalArgumentException if one has overflown the type that it will be stored in
   */
  public QuantizedWeight {
    if (!Double.isFinite(Host.sum(Ops.reduce(ReduceOp.MAX, Axis.ROWS, scale)))) {
      throw new IllegalArgumentException(
          "a scale does not fit the type %s; store scales as BF16 or F32"
              .formatted(quantizer.scaleType()));
    }
  }

  /** The same with each of its tensors changed, such as copied. */
  QuantizedWeight map(UnaryOperator<Tensor> change) {
    return new QuantizedWeight(
        quantizer,
        change.apply(codes),
        change.apply(scale),
        zero == null ? null : change.apply(zero),
        groupIndex == null ? null : change.apply(groupIndex));
  }

  /** {@return the weight that this stands for, F32 [outputs, inputs]} */
  public Tensor dequantize() {
    if (groupIndex == null) {
      return QuantOps.dequantize(codes, quantizer.blocks(), scale, zero, DType.F32);
    }
    try (Scope scope = Scope.open()) {
      return scope.keep(QuantOps.dequantize(pack()));
    }
  }

  /**
   * {@return the codes in as few bits as they have}
   *
   * @throws IllegalStateException if codes are floats or blocks are not parts of one row
   */
  public PackedWeight pack() {
    if (!quantizer.isInteger() || scale.dim(0) != codes.dim(0)) {
      throw new IllegalStateException(
          "weight of " + quantizer + " cannot be packed; expected integers with scales by row");
    }
    try (Scope scope = Scope.open()) {
      long inputs = codes.dim(1);
      long group = quantizer.blocks().columnsOf(inputs);
      Tensor words = scope.keep(QuantOps.pack(codes, quantizer.bits()));
      Tensor scales = scope.keep(Ops.copy(Ops.to(scale, quantizer.scaleType())));
      Tensor zeros = quantizer.symmetric() ? null : scope.keep(Ops.to(zero, DType.U8));
      return new PackedWeight(quantizer.bits(), inputs, group, words, scales, zeros, groupIndex);
    }
  }
}
