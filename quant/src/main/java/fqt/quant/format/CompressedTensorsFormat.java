package fqt.quant.format;

import fqt.nn.Module;
import fqt.quant.QuantLinear;
import fqt.quant.Quantizer;
import fqt.quant.ScaleRule;
import fqt.quant.ScaledLinear;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

/**
 * The compressed-tensors formats, for linears of K inputs and N outputs in groups of g:
 *
 * <pre>
 *   pack-quantized    weight_packed      I32 [N, ⌈K·bits/32⌉]  codes of row n, a stream of bits
 *                     weight_scale       [N, K/g]              in the type of the model
 *                     weight_shape       I64 [2]               N, K
 *                     weight_zero_point  I32 [⌈N·bits/32⌉, K/g] asymmetric only: zero points of a
 *                                                              column, a stream of bits along N
 *                     weight_g_idx       I32 [K]               only where groups are no neighbours
 *   int-quantized     weight             I8 [N, K],  weight_scale [N, 1]
 *   float-quantized   weight             F8_E4M3 [N, K],  weight_scale [N, 1]
 *   all               bias               [N]
 * </pre>
 *
 * A packed code is the signed code plus 2^(bits−1), which is our unsigned code; zero points alike.
 * Quantized activations leave no tensor: servers fit them to every token.
 */
public final class CompressedTensorsFormat implements CheckpointFormat {
  static final String PACKED = "pack-quantized";
  static final String INTEGERS = "int-quantized";
  static final String FLOATS = "float-quantized";

  /** The format, which leaves nothing to choose. */
  public CompressedTensorsFormat() {}

  @Override
  public String name() {
    return "compressed-tensors";
  }

  @Override
  public Scheme prepare(Scheme scheme, DType modelType) {
    Quantizer weights = scheme.weights();
    if (scheme.isScaled()) {
      return scheme.withWeights(weights.withScaleType(DType.F32).withRule(ScaleRule.FULL_RANGE));
    }
    if (!scheme.isPacked() || weights.bits() != 4 && weights.bits() != 8) {
      throw new IllegalArgumentException(
          "no server loads %s weights with %s activations in the compressed-tensors format; use"
                  .formatted(
                      weights.typeName(),
                      scheme.activations() == null
                          ? "floating-point"
                          : scheme.activations().typeName())
              + " w4a16, w8a16, w8a8-int8 or w8a8-fp8, or --format simulated");
    }
    DType scales = modelType == DType.BF16 ? DType.BF16 : DType.F16;
    return scheme.withWeights(weights.withScaleType(scales).withRule(ScaleRule.FULL_RANGE));
  }

  /** The format of one scheme's tensors. */
  static String formatOf(Scheme scheme) {
    if (scheme.activations() == null) {
      return PACKED;
    }
    return scheme.weights().isInteger() ? INTEGERS : FLOATS;
  }

  @Override
  public SequencedMap<String, Tensor> tensors(String prefix, Module linear) {
    return switch (linear) {
      case QuantLinear packed -> packed(prefix, packed);
      case ScaledLinear scaled -> scaled(prefix, scaled);
      default ->
          throw new IllegalArgumentException(
              prefix + " is no linear that the compressed-tensors format stores");
    };
  }

  private static SequencedMap<String, Tensor> packed(String prefix, QuantLinear linear) {
    PackedWeight weight = linear.weight();
    Device device = weight.codes().device();
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(prefix + ".weight_packed", weight.codes());
    tensors.put(prefix + ".weight_scale", weight.scales());
    Tensor shape =
        Ops.of(new int[] {Math.toIntExact(weight.rows()), Math.toIntExact(weight.columns())}, 2);
    tensors.put(prefix + ".weight_shape", Ops.to(Ops.to(shape, DType.I64), device));
    if (weight.zeros() != null) {
      Tensor byGroup = QuantOps.pack(Ops.copy(weight.zeros().transpose(0, 1)), weight.bits());
      tensors.put(prefix + ".weight_zero_point", Ops.copy(byGroup.transpose(0, 1)));
    }
    if (weight.groupIndex() != null) {
      tensors.put(prefix + ".weight_g_idx", weight.groupIndex());
    }
    if (linear.bias() != null) {
      tensors.put(prefix + ".bias", linear.bias());
    }
    return tensors;
  }

  private static SequencedMap<String, Tensor> scaled(String prefix, ScaledLinear linear) {
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(prefix + ".weight", linear.weight());
    tensors.put(prefix + ".weight_scale", linear.scales());
    if (linear.bias() != null) {
      tensors.put(prefix + ".bias", linear.bias());
    }
    return tensors;
  }

  @Override
  public Map<String, Object> config(CheckpointContents contents) {
    return CompressedTensorsConfig.of(contents);
  }
}
