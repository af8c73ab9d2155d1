package fqt.quant.report;

import fqt.nn.Module;

/** Hears what a quantization job does, while it does it, on the thread of the job. */
public interface QuantListener {
  /** Hears nothing. */
  QuantListener NONE = new QuantListener() {};

  /**
   * A linear was quantized and stands in its place.
   *
   * @param report what became of it
   */
  default void linearFinished(LinearReport report) {}

  /**
   * The smoothing search of a layer goes on.
   *
   * @param producer full path of the norm or linear whose factors are being tried
   * @param share how much of the layer's search is done, 0 to 1
   */
  default void searching(String producer, double share) {}

  /**
   * A fold was smoothed.
   *
   * @param report what became of it
   */
  default void foldFinished(FoldReport report) {}

  /**
   * All linears of a layer were quantized, and the calibration inputs are those of the next one.
   *
   * @param index place of the layer in the list
   * @param layer the layer, with its quantized linears
   */
  default void layerFinished(int index, Module layer) {}
}
