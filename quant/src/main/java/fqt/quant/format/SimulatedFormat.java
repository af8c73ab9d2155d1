package fqt.quant.format;

import fqt.nn.Module;
import fqt.quant.FakeQuantLinear;
import fqt.quant.QuantLinear;
import fqt.quant.ScaledLinear;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * Any scheme, for study: the weights that the codes stand for, in F32, and in the configuration how
 * inputs are quantized. No server loads it as what it is.
 */
public final class SimulatedFormat implements CheckpointFormat {
  static final String METHOD = "fqt-simulated";

  /** The format, which leaves nothing to choose. */
  public SimulatedFormat() {}

  @Override
  public String name() {
    return "simulated";
  }

  @Override
  public Scheme prepare(Scheme scheme, DType modelType) {
    return scheme.withWeights(scheme.weights().withScaleType(DType.F32));
  }

  @Override
  public SequencedMap<String, Tensor> tensors(String prefix, Module linear) {
    SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(
        prefix + ".weight",
        switch (linear) {
          case QuantLinear packed -> packed.dequantize();
          case ScaledLinear scaled -> scaled.dequantize();
          case FakeQuantLinear fake -> fake.weight();
          default ->
              throw new IllegalArgumentException(prefix + " is no quantized linear: " + linear);
        });
    Tensor bias = linear.parameters().get("bias");
    if (bias != null) {
      tensors.put(prefix + ".bias", bias);
    }
    return tensors;
  }

  /** What is read back computes in floating point. */
  @Override
  public boolean keepsCodes() {
    return false;
  }

  @Override
  public Map<String, Object> config(CheckpointContents contents) {
    Map<String, Object> exceptions = new LinkedHashMap<>();
    contents
        .quantized()
        .forEach(
            (name, scheme) -> {
              if (!scheme.equals(contents.base())) {
                exceptions.put(name, SchemeJson.write(scheme));
              }
            });
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("quant_method", METHOD);
    config.put("scheme", SchemeJson.write(contents.base()));
    config.put("exceptions", exceptions);
    config.put("ignore", List.copyOf(contents.unquantized()));
    config.put("meta", contents.method());
    return config;
  }
}
