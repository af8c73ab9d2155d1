package fqt.quant.format;

import fqt.io.JsonObject;
import fqt.io.TensorSource;
import fqt.nn.LinearReader;
import fqt.nn.Module;
import fqt.quant.Fp8Linear;
import fqt.quant.Int8Linear;
import fqt.quant.QuantLinear;
import fqt.quant.Quantizer;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;
import java.util.Map;

/** Reads the linears of {@link CompressedTensorsFormat}. */
public final class CompressedTensorsReader implements LinearReader {
  /** For {@code ServiceLoader}. */
  public CompressedTensorsReader() {}

  @Override
  public boolean handles(Map<String, Object> quantizationConfig) {
    return "compressed-tensors".equals(quantizationConfig.get("quant_method"));
  }

  @Override
  public Module read(
      String prefix,
      long inputs,
      long outputs,
      TensorSource tensors,
      Map<String, Object> quantizationConfig) {
    boolean packed = tensors.has(prefix + ".weight_packed");
    if (!packed && !tensors.has(prefix + ".weight_scale")) {
      return null;
    }
    JsonObject config = new JsonObject(quantizationConfig, "quantization_config");
    JsonObject group = CompressedTensorsConfig.groupFor(config, prefix);
    if (group == null) {
      throw new IllegalArgumentException(
          prefix + " has codes, but no config group of the quantization_config is about it");
    }
    return packed
        ? packed(prefix, inputs, outputs, tensors, group)
        : scaled(prefix, inputs, outputs, tensors, group);
  }

  private static Module packed(
      String prefix, long inputs, long outputs, TensorSource tensors, JsonObject group) {
    int bits = CompressedTensorsConfig.bits(group);
    long groupSize = CompressedTensorsConfig.groupSize(group, inputs);
    long groups = Math.ceilDiv(inputs, groupSize);
    Tensor codes =
        Packing.require(
            prefix + ".weight_packed",
            tensors.get(prefix + ".weight_packed"),
            DType.I32,
            outputs,
            PackedWeight.wordsPerRow(inputs, bits));
    Tensor scales =
        Packing.requireFloat(
            prefix + ".weight_scale", tensors.get(prefix + ".weight_scale"), outputs, groups);
    Tensor zeros = null;
    if (tensors.has(prefix + ".weight_zero_point")) {
      Tensor stored =
          Packing.require(
              prefix + ".weight_zero_point",
              tensors.get(prefix + ".weight_zero_point"),
              DType.I32,
              PackedWeight.wordsPerRow(outputs, bits),
              groups);
      Tensor byGroup = QuantOps.unpack(Ops.copy(stored.transpose(0, 1)), bits, outputs);
      zeros = Packing.unlessMiddle(Ops.copy(byGroup.transpose(0, 1)), bits);
    }
    Tensor groupIndex = null;
    if (tensors.has(prefix + ".weight_g_idx")) {
      String name = prefix + ".weight_g_idx";
      groupIndex =
          Packing.unlessNeighbours(
              Packing.require(name, tensors.get(name), DType.I32, inputs), groupSize);
    }
    PackedWeight weight =
        new PackedWeight(bits, inputs, groupSize, codes, scales, zeros, groupIndex);
    return new QuantLinear(weight, Packing.bias(prefix, tensors, outputs));
  }

  private static Module scaled(
      String prefix, long inputs, long outputs, TensorSource tensors, JsonObject group) {
    Tensor weight = tensors.get(prefix + ".weight");
    Quantizer activations = CompressedTensorsConfig.activations(group, prefix);
    DType type = weight.dtype() == DType.I8 ? DType.I8 : DType.F8_E4M3;
    Packing.require(prefix + ".weight", weight, type, outputs, inputs);
    Tensor scales =
        Packing.requireFloat(
            prefix + ".weight_scale", tensors.get(prefix + ".weight_scale"), outputs, 1);
    Tensor bias = Packing.bias(prefix, tensors, outputs);
    return type == DType.I8
        ? new Int8Linear(weight, scales, bias, activations)
        : new Fp8Linear(weight, scales, bias, activations);
  }
}
