package fqt.quant;

import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.quant.flow.BlockRuns;
import fqt.quant.flow.Target;
import fqt.quant.report.FoldReport;
import fqt.quant.report.QuantListener;
import fqt.quant.report.Reports;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.IdentityHashMap;
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
 * as they are is always a candidate. Folds are searched one by one, each as if nothing else were
 * quantized; so in the end the layer as a whole is judged by the error of its output with all
 * linears rounded: as it was, smoothed, and clipped. It goes back to the best, so that on the
 * tokens that it is judged on the loss never gets worse.
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
    new LayerForwardManager(inputs)
        .walk(
            layers,
            listener,
            (prefix, layer) -> quantizeLayer(prefix, layer, inputs, config, listener));
  }

  /** Smooths one layer, clips if wanted, and rounds; leaves the inputs before it. */
  public static void quantizeLayer(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    smooth(prefix, layer, inputs, config, listener);
    Rtn.quantizeLayer(prefix, layer, config.rules(), listener);
  }

  /**
   * Smooths one layer and leaves its linears in floating point, without clipping, for another
   * algorithm to quantize.
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
    smooth(prefix, layer, inputs, config.withClip(false), listener);
  }

  private static void smooth(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    try (Scope scope = Scope.open();
        BlockRuns runs = new BlockRuns(layer, "", inputs.device())) {
      record(layer, runs, inputs, config);
      State first = State.of(prefix, layer, runs, config);
      State best = first;
      List<FoldReport> reports;
      Map<String, float[]> factors;
      try (FoldSearch search = new FoldSearch(prefix, layer, inputs, config, listener)) {
        reports = search.run();
        factors = search.factors();
      }
      best = best.orBetter(State.of(prefix, layer, runs, config));
      if (config.clip()) {
        ClipSearch.run(prefix, layer, inputs, config);
        best = best.orBetter(State.of(prefix, layer, runs, config));
      }
      boolean undone = config.searches() && best == first;
      if (config.searches()) {
        best.restore();
      }
      if (!undone) {
        factors.forEach(listener::factorsChosen);
      }
      reports.forEach(report -> Reports.fold(undone ? report.undone() : report, listener));
      layer.visit((path, module) -> Scheme.keep(scope, module));
    }
  }

  /** Adds what the layer as it is now gives for some samples. */
  private static void record(
      Module layer, BlockRuns runs, CalibrationInputs inputs, SmoothQuantConfig config) {
    try (Module.Registration hook =
        layer.after((module, input, args, output) -> runs.add(input, args, output, 1))) {
      LayerForwardManager forward = new LayerForwardManager(inputs);
      inputs.spread(config.searchTokens()).stream().forEach(i -> forward.observe(layer, i));
    }
  }

  /**
   * What the norms and linears of a layer are made of at some time.
   *
   * @param error of the layer's output when all its linears are rounded to nearest
   */
  private record State(double error, Map<Module, Tensor> weights, Map<Module, Tensor> biases) {
    static State of(String prefix, Module layer, BlockRuns runs, SmoothQuantConfig config) {
      List<Target> targets = config.rules().targets(prefix, layer);
      double error = runs.error(targets, t -> config.rules().schemeOf(t).quantize(t.linear()));
      State state = new State(error, new IdentityHashMap<>(), new IdentityHashMap<>());
      layer.visit(
          (path, module) -> {
            if (ScaleFold.canSet(module)) {
              state.weights.put(module, module.parameters().get("weight"));
              state.biases.put(module, module.parameters().get("bias"));
            }
          });
      return state;
    }

    State orBetter(State other) {
      return other.error < error ? other : this;
    }

    void restore() {
      weights.forEach(
          (module, weight) -> ScaleFold.setParameters(module, weight, biases.get(module)));
    }
  }
}
