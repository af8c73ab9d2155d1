package fqt.quant;

import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.BlockRuns;
import fqt.quant.flow.Fold;
import fqt.quant.flow.Snapshot;
import fqt.quant.flow.Target;
import fqt.quant.report.FoldReport;
import fqt.quant.report.QuantListener;
import fqt.quant.report.Reports;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Scope;
import java.util.BitSet;
import java.util.List;
import java.util.function.Supplier;

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
 *
 * @param config schemes, how factors are searched, and whether ranges are clipped
 * @param listener hears what became of each fold and linear
 */
public record SmoothQuant(SmoothQuantConfig config, QuantListener listener) {
  /**
   * Smooths and rounds all layers, heard by nobody.
   *
   * @param layers decoder layers, in order; the quantized linears take their places inside them
   * @param inputs calibration inputs of the first layer; afterwards the outputs of the last
   * @param config schemes, how factors are searched, and whether ranges are clipped
   */
  public static void quantize(
      List<? extends Module> layers, CalibrationInputs inputs, SmoothQuantConfig config) {
    new SmoothQuant(config, QuantListener.NONE).quantize(layers, inputs);
  }

  /**
   * Smooths all layers, in order, and rounds their linears to nearest. The quantized linears and
   * changed norms belong to the scope that is current now; the inputs end as the outputs of the
   * last layer.
   *
   * @param layers decoder layers, in order
   * @param inputs calibration inputs of the first layer
   */
  public void quantize(List<? extends Module> layers, CalibrationInputs inputs) {
    new LayerForwardManager(inputs).walk(layers, this::quantizeLayer, listener);
  }

  /**
   * Smooths one layer, clips if wanted, and rounds; leaves the inputs before it.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param layer the layer; its norms and linears are replaced
   * @param forward runs the layer over its calibration inputs
   */
  public void quantizeLayer(String prefix, Module layer, LayerForwardManager forward) {
    smoothLayer(prefix, layer, forward);
    new Rtn(config.rules(), listener).quantizeLayer(prefix, layer, forward.member());
  }

  /**
   * Smooths one layer, clips if wanted, and leaves its linears in floating point, for another
   * algorithm to quantize. GPTQ is better off without clipping.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param layer the layer; weights of its norms and linears are replaced
   * @param forward runs the layer over its calibration inputs
   */
  public void smoothLayer(String prefix, Module layer, LayerForwardManager forward) {
    LinearRules<Scheme> rules = config.rules();
    List<Target> targets = Target.of(prefix, layer, rules::includes);
    BitSet judges = forward.spread(config.searchTokens());
    Crew.Member member = forward.member();
    QuantListener told = member.leads() ? listener : QuantListener.NONE;
    Fold.Samples samples =
        new Fold.Samples(member, judges, forward::chunk, s -> forward.observe(layer, s));
    try (Scope scope = Scope.open();
        BlockRuns runs = new BlockRuns(member, layer, "")) {
      try (Module.Registration hook =
          layer.after((module, input, args, output) -> runs.add(input, args, output, 1))) {
        forward.observe(layer, judges.stream(), sample -> {});
      }
      Supplier<State> now =
          () ->
              new State(
                  runs.error(targets, t -> rules.choice(t.name()).quantize(t.linear())),
                  Snapshot.of(layer));
      State first = now.get();
      List<FoldReport> found;
      try (Fold.All folds = Fold.watch(prefix, layer, targets, config.mean(), samples)) {
        found = new FoldSearch(config, targets, folds.folds(), told).run();
      }
      State best = first.orBetter(now.get());
      if (config.clip()) {
        new ClipSearch(layer, rules, forward, judges).run(targets);
        best = best.orBetter(now.get());
      }
      boolean undone = config.searches() && best == first;
      if (config.searches()) {
        best.layer.restore();
      }
      found.forEach(one -> Reports.fold(undone ? one.undone() : one, told));
      layer.visit((path, module) -> Module.keep(scope, module));
    }
  }

  /**
   * A layer at some time.
   *
   * @param error of the layer's output when all its linears are rounded to nearest
   */
  private record State(double error, Snapshot layer) {
    State orBetter(State other) {
      return other.error < error ? other : this;
    }
  }
}
