package fqt.quant.format;

import fqt.nn.Module;
import fqt.quant.QuantLinear;
import fqt.quant.Quantizer;
import fqt.quant.ScaleRule;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SequencedMap;

/**
 * The GPTQ format, version 1, for linears of K inputs and N outputs in groups of g:
 *
 * <pre>
 *   qweight  I32 [K·bits/32, N]   codes of column n, a stream of bits along K, lowest bit first
 *   qzeros   I32 [K/g, N·bits/32] zero points minus one, a stream of bits along N
 *   scales   F16 or BF16 [K/g, N]
 *   g_idx    I32 [K]              group of each input
 *   bias     [N]
 * </pre>
 *
 * Version 1 stores {@code zero − 1}: symmetric 4-bit codes have 7 in every nibble of qzeros.
 * Servers take 4 and 8 bits, symmetric, and nothing else.
 */
public final class GptqFormat implements CheckpointFormat {
  /** The format, which leaves nothing to choose. */
  public GptqFormat() {}

  @Override
  public String name() {
    return "gptq";
  }

  @Override
  public Scheme prepare(Scheme scheme, DType modelType) {
    Quantizer weights = scheme.weights();
    if (scheme.activations() != null) {
      throw new IllegalArgumentException(
          "the gptq format keeps activations in floating point;"
              + " use --format compressed-tensors for quantized activations");
    }
    if (!weights.isInteger() || weights.bits() != 4 && weights.bits() != 8) {
      throw new IllegalArgumentException(
          "no server loads %s weights in the gptq format; use w4a16 or w8a16, or --format simulated"
              .formatted(weights.typeName()));
    }
    if (!weights.symmetric()) {
      throw new IllegalArgumentException(
          "no server loads asymmetric weights in the gptq format;"
              + " use symmetric ones, or --format awq");
    }
    DType scales = modelType == DType.BF16 ? DType.BF16 : DType.F16;
    return scheme.withWeights(weights.withScaleType(scales).withRule(ScaleRule.FULL_RANGE));
  }

  @Override
  public SequencedMap<String, Tensor> tensors(String prefix, Module linear) {
    if (!(linear instanceof QuantLinear quantized) || quantized.weight().zeros() != null) {
      throw new IllegalArgumentException(
          prefix + " is no linear of symmetric packed weights, which the gptq format stores");
    }
    PackedWeight weight = quantized.weight();
    int bits = weight.bits();
    if (weight.columns() * bits % Integer.SIZE != 0 || weight.rows() * bits % Integer.SIZE != 0) {
      throw new IllegalArgumentException(
          "%s has %d inputs and %d outputs; the gptq format packs multiples of %d"
              .formatted(prefix, weight.columns(), weight.rows(), Integer.SIZE / bits));
    }
    Device device = weight.codes().device();
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(prefix + ".qweight", Ops.copy(weight.codes().transpose(0, 1)));
    tensors.put(
        prefix + ".qzeros",
        Ops.full(
            device,
            DType.I32,
            bits == 4 ? 0x77777777 : 0x7f7f7f7f,
            weight.groups(),
            weight.rows() * bits / Integer.SIZE));
    tensors.put(prefix + ".scales", Ops.copy(weight.scales().transpose(0, 1)));
    tensors.put(
        prefix + ".g_idx",
        weight.groupIndex() == null
            ? Packing.neighbours(device, weight.columns(), weight.groupSize())
            : weight.groupIndex());
    if (quantized.bias() != null) {
      tensors.put(prefix + ".bias", quantized.bias());
    }
    return tensors;
  }

  @Override
  public Map<String, Object> config(CheckpointContents contents) {
    Quantizer weights = contents.base().weights();
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("quant_method", "gptq");
    config.put("bits", (long) weights.bits());
    config.put("group_size", groupSize(weights));
    config.put("desc_act", contents.groupIndices());
    config.put("sym", true);
    config.put("checkpoint_format", "gptq");
    config.put("lm_head", false);
    config.put("pack_dtype", "int32");
    config.put("dynamic", GptqRules.dynamic(contents));
    config.put("meta", contents.method());
    return config;
  }

  /** Inputs that share a scale; −1 for all. */
  static long groupSize(Quantizer weights) {
    long columns = weights.blocks().columns();
    return columns == 0 ? -1 : columns;
  }
}
