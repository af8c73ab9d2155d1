package fqt.quant.format;

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

/** Reads the linears of {@link AwqFormat}. */
public final class AwqReader implements LinearReader {
  /** For {@code ServiceLoader}. */
  public AwqReader() {}

  @Override
  public boolean handles(Map<String, Object> quantizationConfig) {
    return "awq".equals(quantizationConfig.get("quant_method"));
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
    long words = outputs / AwqFormat.PER_WORD;
    Tensor qweight =
        Packing.require(
            prefix + ".qweight", tensors.get(prefix + ".qweight"), DType.I32, inputs, words);
    Tensor scales = tensors.get(prefix + ".scales");
    long groups = scales.dim(0);
    if (groups < 1 || inputs % groups != 0) {
      throw new IllegalArgumentException(
          "%s.scales is %s: its groups do not divide %d inputs".formatted(prefix, scales, inputs));
    }
    Packing.requireFloat(prefix + ".scales", scales, groups, outputs);
    Tensor qzeros =
        Packing.require(
            prefix + ".qzeros", tensors.get(prefix + ".qzeros"), DType.I32, groups, words);
    PackedWeight weight =
        new PackedWeight(
            AwqFormat.BITS,
            inputs,
            inputs / groups,
            QuantOps.pack(AwqFormat.unpacked(qweight, outputs), AwqFormat.BITS),
            Ops.copy(scales.transpose(0, 1)),
            Packing.unlessMiddle(AwqFormat.unpacked(qzeros, outputs), AwqFormat.BITS),
            null);
    return new QuantLinear(weight, Packing.bias(prefix, tensors, outputs));
  }
}
