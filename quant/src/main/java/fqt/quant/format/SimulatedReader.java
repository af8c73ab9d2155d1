package fqt.quant.format;

import fqt.io.JsonObject;
import fqt.io.TensorSource;
import fqt.nn.LinearReader;
import fqt.nn.Module;
import fqt.quant.FakeQuantLinear;
import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Map;

/** Reads the linears of {@link SimulatedFormat}. */
public final class SimulatedReader implements LinearReader {
  /** For {@code ServiceLoader}. */
  public SimulatedReader() {}

  @Override
  public boolean handles(Map<String, Object> quantizationConfig) {
    return SimulatedFormat.METHOD.equals(quantizationConfig.get("quant_method"));
  }

  @Override
  public Module read(
      String prefix,
      long inputs,
      long outputs,
      TensorSource tensors,
      Map<String, Object> quantizationConfig) {
    JsonObject config = new JsonObject(quantizationConfig, "quantization_config");
    if (config.getStrings("ignore").contains(prefix) || !tensors.has(prefix + ".weight")) {
      return null;
    }
    JsonObject exceptions = config.getObjectOrEmpty("exceptions");
    JsonObject scheme =
        exceptions.has(prefix) ? exceptions.getObject(prefix) : config.getObject("scheme");
    Tensor weight =
        Packing.require(
            prefix + ".weight", tensors.get(prefix + ".weight"), DType.F32, outputs, inputs);
    return new FakeQuantLinear(
        weight, Packing.bias(prefix, tensors, outputs), SchemeJson.read(scheme));
  }
}
