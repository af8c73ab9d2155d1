package fqt.nn;

import fqt.io.TensorSource;
import java.util.Map;

/**
 * Makes the linears of a quantized checkpoint. Looked up with {@code ServiceLoader}, so that model
 * code can load what a quantization module wrote without knowing it.
 */
public interface LinearReader {
  /**
   * {@return whether this reader understands a {@code quantization_config}}
   *
   * @param quantizationConfig the object of that name in the checkpoint's {@code config.json}
   */
  boolean handles(Map<String, Object> quantizationConfig);

  /**
   * {@return the linear stored under a prefix, or null if this linear was left in floating point}
   *
   * @param prefix the linear's full path in the checkpoint, such as {@code
   *     model.layers.0.mlp.up_proj}
   * @param inputs its input features
   * @param outputs its output features
   * @param tensors the checkpoint
   * @param quantizationConfig one that {@link #handles} accepted
   * @throws IllegalArgumentException if a tensor is missing or has a wrong type or shape
   */
  Module read(
      String prefix,
      long inputs,
      long outputs,
      TensorSource tensors,
      Map<String, Object> quantizationConfig);
}
