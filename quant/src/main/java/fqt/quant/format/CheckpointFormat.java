package fqt.quant.format;

import fqt.nn.Module;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Map;
import java.util.SequencedMap;

/** A way to store quantized linears in a checkpoint. */
public interface CheckpointFormat {
  /** {@return the name on the command line, such as {@code awq}} */
  String name();

  /**
   * The scheme as this format stores it: its scale type and scale rule.
   *
   * @param scheme what the user wants
   * @param modelType type of the original weights
   * @return the scheme to quantize with
   * @throws IllegalArgumentException if no server loads such a checkpoint, with the nearest scheme
   *     that works
   */
  Scheme prepare(Scheme scheme, DType modelType);

  /**
   * The tensors of a quantized linear, named {@code prefix.…}, bias included.
   *
   * @param prefix full path of the linear in the checkpoint
   * @param linear what a quantizer put in its place, of a scheme that {@link #prepare} gave
   * @return in the current scope, or views of the linear's own
   */
  SequencedMap<String, Tensor> tensors(String prefix, Module linear);

  /**
   * {@return whether a linear that is read back computes on the codes that were written, and so the
   * same bits}
   */
  default boolean keepsCodes() {
    return true;
  }

  /**
   * {@return what belongs under {@code quantization_config} in {@code config.json}}
   *
   * @param contents what the checkpoint holds
   */
  Map<String, Object> config(CheckpointContents contents);
}
