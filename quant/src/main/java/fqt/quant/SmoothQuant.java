package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Scope;
import java.util.List;
import java.util.Map;

/**
 * Smoothing: moves scale from activations into weights along the {@link fqt.nn.ScaleFold}s that a
 * block declares, which changes nothing in floating point, and picks for each the factors under
 * which quantization hurts least. With weights alone quantized this is AWQ (Lin et al. 2023), with
 * activations too SmoothQuant (Xiao et al. 2022).
 *
 * <p>Each fold is judged by the part of the block that holds all its quantized consumers: the whole
 * attention for the norm before it, a linear itself where it is the only consumer. Leaving things
 * as they are is always a candidate. In the end the layer as a whole is judged by the error of its
 * output with all linears rounded: as it was, smoothed, and clipped; it goes back to the best, so
 * that on the tokens that it is judged on the loss never gets worse.
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
    smooth(prefix, layer, inputs, config, config.clip(), listener);
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
    smooth(prefix, layer, inputs, config, false, listener);
  }

  private static void smooth(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      boolean clip,
      QuantListener listener) {
    try (Scope scope = Scope.open();
        LayerJudge judge = new LayerJudge(prefix, layer, inputs, config)) {
      judge.consider();
      Found found = search(prefix, layer, inputs, config);
      judge.consider();
      if (clip) {
        ClipSearch.run(prefix, layer, inputs, config);
        judge.consider();
      }
      boolean undone = config.searches() && judge.restoreBest() == 0;
      if (!undone) {
        found.factors().forEach(listener::factorsChosen);
      }
      found.reports().forEach(report -> Reports.fold(undone ? report.undone() : report, listener));
      layer.visit((path, module) -> Scheme.keep(scope, module));
    }
  }

  /**
   * What the search found.
   *
   * @param factors what the channels of a producer were divided by, by its full path
   */
  private record Found(List<FoldReport> reports, Map<String, float[]> factors) {}

  private static Found search(
      String prefix, Module layer, CalibrationInputs inputs, SmoothQuantConfig config) {
    List<Fold> folds = Fold.of(prefix, layer, config.rules());
    try (FoldSamples samples = FoldSamples.collect(layer, folds, inputs, config)) {
      FoldSearch search = new FoldSearch(config, samples);
      return new Found(folds.stream().map(search::smooth).toList(), search.factors());
    }
  }

  /**
   * Memory that smoothing a layer takes besides its weights and what one sample needs on its way
   * through it, at most.
   *
   * @param tokens of all calibration samples together
   * @param length tokens of the longest sample
   * @return bytes of what candidates are judged on, of consumers rounded for a try, of the layer in
   *     F32 before and after clipping, and of the clip search's second moments
   */
  public static long byteSize(
      String prefix, Module layer, SmoothQuantConfig config, long tokens, long length) {
    long judged = Math.min(tokens, config.searchTokens() + length);
    List<Fold> folds = Fold.of(prefix, layer, config.rules());
    long wide = 0;
    long features = 0;
    for (SchemeRules.Target target : config.rules().targets(prefix, layer).sequencedValues()) {
      wide += target.linear().weight().count() * Float.BYTES;
      features = Math.max(features, target.linear().inputs());
    }
    long tried = 0;
    for (Fold fold : folds) {
      long weights = fold.targets().stream().mapToLong(t -> t.linear().weight().count()).sum();
      tried = Math.max(tried, weights * Float.BYTES);
    }
    long clip = config.clip() ? ClipSearch.byteSize(prefix, layer, config) : 0;
    long outputs = judged * features * Float.BYTES;
    long states = config.clip() ? 2 * wide : wide;
    return FoldSamples.byteSize(folds, judged) + outputs + states + tried + clip;
  }
}
