package fqt.quant.format;

import fqt.io.JsonObject;
import fqt.io.TensorSource;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A linear as a server sees it when it loads a checkpoint.
 *
 * @param name full path
 * @param inputs input features
 * @param outputs output features
 * @param storage how it is stored; null for floating point
 */
public record ServedLinear(String name, long inputs, long outputs, Storage storage) {
  /**
   * How a quantized linear is stored.
   *
   * @param layout {@code gptq}, {@code awq}, {@code pack-quantized}, {@code int-quantized}, {@code
   *     float-quantized} or {@code simulated}
   * @param bits of a code
   * @param groupSize inputs that share a scale, −1 for all
   * @param symmetric whether there are no zero points
   */
  public record Storage(String layout, int bits, long groupSize, boolean symmetric) {
    /** {@return whether codes are packed into words and activations stay in floating point} */
    public boolean isPacked() {
      return layout.equals("gptq")
          || layout.equals("awq")
          || layout.equals(CompressedTensorsFormat.PACKED);
    }
  }

  /**
   * {@return a linear that is about to be written}
   *
   * @param name its full path in the checkpoint
   * @param inputs its input features
   * @param outputs its output features
   * @param format how it will be stored
   * @param scheme what its weight and inputs go through, or null to leave it in floating point
   */
  public static ServedLinear planned(
      String name, long inputs, long outputs, CheckpointFormat format, Scheme scheme) {
    if (scheme == null) {
      return new ServedLinear(name, inputs, outputs, null);
    }
    String layout =
        format instanceof CompressedTensorsFormat
            ? CompressedTensorsFormat.formatOf(scheme)
            : format.name();
    Storage storage =
        new Storage(
            layout,
            scheme.weights().bits(),
            GptqFormat.groupSize(scheme.weights()),
            scheme.weights().symmetric());
    return new ServedLinear(name, inputs, outputs, storage);
  }

  /**
   * {@return the linears of a checkpoint, in the order of its tensors} Any matrix called {@code
   * weight} that is no embedding counts as one in floating point.
   *
   * @param tensors the checkpoint
   * @param quantizationConfig as {@code config.json} has it; empty for a model in floating point
   */
  public static List<ServedLinear> stored(
      TensorSource tensors, Map<String, Object> quantizationConfig) {
    JsonObject config = new JsonObject(quantizationConfig, "quantization_config");
    List<ServedLinear> linears = new ArrayList<>();
    for (String tensor : tensors.names()) {
      int dot = tensor.lastIndexOf('.');
      String name = dot < 0 ? "" : tensor.substring(0, dot);
      switch (tensor.substring(dot + 1)) {
        case "qweight" -> linears.add(packed(name, tensors, config));
        case "weight_packed" -> linears.add(compressed(name, tensors));
        case "weight" -> {
          Tensor weight = tensors.get(tensor);
          if (weight.rank() == 2 && !name.endsWith("embed_tokens")) {
            linears.add(whole(name, weight, tensors, config));
          }
        }
        default -> {}
      }
    }
    return linears;
  }

  private static ServedLinear packed(String name, TensorSource tensors, JsonObject config) {
    Tensor codes = tensors.get(name + ".qweight");
    Tensor scales = tensors.get(name + ".scales");
    boolean awq = config.getString("quant_method", "gptq").equals("awq");
    long inputs;
    int bits;
    if (awq) {
      bits = AwqFormat.BITS;
      inputs = codes.dim(0);
    } else {
      long words = tensors.get(name + ".qzeros").dim(1);
      bits = (int) (words * Integer.SIZE / scales.dim(1));
      inputs = codes.dim(0) * Integer.SIZE / bits;
    }
    long groups = scales.dim(0);
    boolean symmetric = !awq && config.getBoolean("sym", true);
    Storage storage =
        new Storage(awq ? "awq" : "gptq", bits, groups == 1 ? -1 : inputs / groups, symmetric);
    return new ServedLinear(name, inputs, scales.dim(1), storage);
  }

  private static ServedLinear compressed(String name, TensorSource tensors) {
    long[] shape = tensors.get(name + ".weight_shape").toLongs();
    long words = tensors.get(name + ".weight_packed").dim(1);
    long groups = tensors.get(name + ".weight_scale").dim(1);
    boolean symmetric = !tensors.has(name + ".weight_zero_point");
    int bits = (int) (words * Integer.SIZE / shape[1]);
    Storage storage =
        new Storage(
            CompressedTensorsFormat.PACKED, bits, groups == 1 ? -1 : shape[1] / groups, symmetric);
    return new ServedLinear(name, shape[1], shape[0], storage);
  }

  private static ServedLinear whole(
      String name, Tensor weight, TensorSource tensors, JsonObject config) {
    Storage storage = null;
    if (tensors.has(name + ".weight_scale")) {
      boolean floats = weight.dtype() == DType.F8_E4M3;
      String layout = floats ? CompressedTensorsFormat.FLOATS : CompressedTensorsFormat.INTEGERS;
      storage = new Storage(layout, 8, -1, true);
    } else if (SimulatedFormat.METHOD.equals(config.getString("quant_method", ""))
        && !config.getStrings("ignore").contains(name)) {
      storage = new Storage("simulated", 8, -1, true);
    }
    return new ServedLinear(name, weight.dim(1), weight.dim(0), storage);
  }
}
