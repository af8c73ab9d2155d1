package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Scope;
import java.util.List;

/**
 * Smoothing: moves scale from activations into weights along the {@link fqt.nn.ScaleFold}s that a
 * block declares, which changes nothing in floating point, and picks for each the factors under
 * which quantization hurts least. With weights alone quantized this is AWQ (Lin et al. 2023), with
 * activations too SmoothQuant (Xiao et al. 2022).
 *
 * <p>Each fold is judged by the part of the block that holds all its quantized consumers: the whole
 * attention for the norm before it, a linear itself where it is the only consumer. Leaving things
 * as they are is always a candidate, so that the loss never gets worse.
 */
public final class SmoothQuant {
  private SmoothQuant() {}

  /** Smooths and rounds all layers, hearing nothing. */
  public static void quantize(
      List<? extends Module> layers, CalibrationInputs inputs, SmoothQuantConfig config) {
    quantize(layers, inputs, config, QuantListener.NONE);
  }

  /**
   * Smooths all layers, in order, and rounds their linears to nearest. The quantized linears and
   * changed norms belong to the scope that is current now; the inputs end as the outputs of the
   * last layer.
   *
   * @param inputs calibration inputs of the first layer
   */
  public static void quantize(
      List<? extends Module> layers,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    LayerForwardManager forward = new LayerForwardManager(inputs);
    for (int i = 0; i < layers.size(); i++) {
      quantizeLayer("layers." + i, layers.get(i), inputs, config, listener);
      forward.advance(layers.get(i));
      listener.layerFinished(i, layers.get(i));
    }
  }

  /** Smooths one layer, clips if wanted, and rounds; leaves the inputs before it. */
  public static void quantizeLayer(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    smoothLayer(prefix, layer, inputs, config, listener);
    if (config.clip()) {
      ClipSearch.run(prefix, layer, inputs, config);
    }
    Rtn.quantizeLayer(prefix, layer, config.rules(), listener);
  }

  /**
   * Smooths one layer and leaves its linears in floating point, for another algorithm to quantize.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param inputs calibration inputs of this layer
   */
  public static void smoothLayer(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    List<Fold> folds = Fold.of(prefix, layer, config.rules());
    try (Scope scope = Scope.open();
        FoldSamples samples = FoldSamples.collect(layer, folds, inputs, config)) {
      FoldSearch search = new FoldSearch(config, samples);
      for (Fold fold : folds) {
        listener.foldFinished(search.smooth(fold));
      }
      layer.visit((path, module) -> Scheme.keep(scope, module));
    }
  }
}
