package fqt.quant.format;

import fqt.io.JsonObject;
import fqt.io.TensorSource;
import fqt.nn.LinearReader;
import fqt.nn.Module;
import fqt.quant.QuantLinear;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Tensor;
import java.util.Map;

/** Reads the linears of {@link GptqFormat}, version 1 or 2, with or without zero points. */
public final class GptqReader implements LinearReader {
  /** For {@code ServiceLoader}. */
  public GptqReader() {}

  @Override
  public boolean handles(Map<String, Object> quantizationConfig) {
    return "gptq".equals(quantizationConfig.get("quant_method"));
  }

  @Override
  public Module read(
      String prefix,
      long inputs,
      long outputs,
      TensorSource tensors,
      Map<String, Object> quantizationConfig) {
    if (!tensors.has(prefix + ".qweight")) {
      return null;
    }
    JsonObject config = new JsonObject(quantizationConfig, "quantization_config");
    Tensor qweight = tensors.get(prefix + ".qweight");
    Tensor scales = tensors.get(prefix + ".scales");
    // Rules may give a linear bits and groups of its own; the shapes say which.
    int bits = Math.toIntExact(qweight.dim(0) * Integer.SIZE / inputs);
    long groupSize = groupSize(prefix, config, inputs, scales.dim(0));
    long groups = Math.ceilDiv(inputs, groupSize);
    Packing.require(
        prefix + ".qweight", qweight, DType.I32, PackedWeight.wordsPerRow(inputs, bits), outputs);
    Packing.requireFloat(prefix + ".scales", scales, groups, outputs);
    Tensor zeros = zeros(prefix, tensors, config, bits, groups, outputs);
    Tensor groupIndex = null;
    if (tensors.has(prefix + ".g_idx")) {
      Tensor stored =
          Packing.require(prefix + ".g_idx", tensors.get(prefix + ".g_idx"), DType.I32, inputs);
      groupIndex = Packing.unlessNeighbours(stored, groupSize);
    }
    PackedWeight weight =
        new PackedWeight(
            bits,
            inputs,
            groupSize,
            Ops.copy(qweight.transpose(0, 1)),
            Ops.copy(scales.transpose(0, 1)),
            zeros,
            groupIndex);
    return new QuantLinear(weight, Packing.bias(prefix, tensors, outputs));
  }

  private static long groupSize(String prefix, JsonObject config, long inputs, long groups) {
    long groupSize = config.getLong("group_size");
    if (groupSize == -1 || groups == 1) {
      return inputs;
    }
    if (Math.ceilDiv(inputs, groupSize) == groups) {
      return groupSize;
    }
    if (groups < 1 || inputs % groups != 0) {
      throw new IllegalArgumentException(
          "%s.scales has %d groups, which do not divide %d inputs"
              .formatted(prefix, groups, inputs));
    }
    return inputs / groups;
  }

  /** U8 [outputs, groups], or null for symmetric codes. */
  private static Tensor zeros(
      String prefix, TensorSource tensors, JsonObject config, int bits, long groups, long outputs) {
    Tensor packed =
        Packing.require(
            prefix + ".qzeros",
            tensors.get(prefix + ".qzeros"),
            DType.I32,
            groups,
            PackedWeight.wordsPerRow(outputs, bits));
    Tensor stored = Ops.to(QuantOps.unpack(packed, bits, outputs), DType.F32);
    boolean minusOne = !"gptq_v2".equals(config.getString("checkpoint_format", "gptq"));
    Tensor zeros = Ops.copy(Ops.affine(stored, 1, minusOne ? 1 : 0).transpose(0, 1));
    return Packing.unlessMiddle(Ops.to(zeros, DType.U8), bits);
  }
}
