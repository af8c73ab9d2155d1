package fqt.models;

import fqt.io.FileFormatException;
import fqt.io.TensorSource;
import fqt.nn.Linear;
import fqt.nn.LinearReader;
import fqt.nn.Module;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;

/** Parts read from a checkpoint onto a device; on the CPU, views of the mapped file. */
final class CheckpointWeights implements Weights {
  private final TensorSource source;
  private final Map<String, Object> quantization;
  private final LinearReader reader;

  /**
   * Parts of a checkpoint.
   *
   * @param quantization the quantization_config, or an empty map
   * @throws FileFormatException if the checkpoint is quantized in a way that no reader understands
   */
  CheckpointWeights(TensorSource source, Device device, Map<String, Object> quantization) {
    this.source = new OnDevice(source, device);
    this.quantization = quantization;
    this.reader = quantization.isEmpty() ? null : findReader(quantization);
  }

  private static LinearReader findReader(Map<String, Object> quantization) {
    for (LinearReader reader : ServiceLoader.load(LinearReader.class)) {
      if (reader.handles(quantization)) {
        return reader;
      }
    }
    throw new FileFormatException(
        "the checkpoint is quantized (quant_method %s, format %s) and no reader for it is present;"
                .formatted(quantization.get("quant_method"), quantization.get("format"))
            + " module fqt.quant provides those of gptq, awq and compressed-tensors");
  }

  @Override
  public boolean has(String name) {
    return source.has(name);
  }

  @Override
  public Tensor tensor(String name, long... shape) {
    return requireShape(name, source.get(name), shape);
  }

  static Tensor requireShape(String name, Tensor tensor, long... shape) {
    if (!tensor.shape().equals(Shape.of(shape)) || !tensor.dtype().isFloat()) {
      throw new FileFormatException(
          "tensor '%s' is %s; the configuration asks for floating point of shape %s"
              .formatted(name, tensor, Shape.of(shape)));
    }
    return tensor;
  }

  @Override
  public Module linear(String prefix, long inputs, long outputs, boolean bias) {
    if (reader != null) {
      Module quantized = reader.read(prefix, inputs, outputs, source, quantization);
      if (quantized != null) {
        return quantized;
      }
    }
    return new Linear(
        tensor(prefix + ".weight", outputs, inputs),
        bias ? tensor(prefix + ".bias", outputs) : null);
  }

  /** The same tensors, moved to a device when asked for. */
  private record OnDevice(TensorSource tensors, Device device) implements TensorSource {
    @Override
    public Set<String> names() {
      return tensors.names();
    }

    @Override
    public boolean has(String name) {
      return tensors.has(name);
    }

    @Override
    public Tensor get(String name) {
      return Ops.to(tensors.get(name), device);
    }
  }
}
