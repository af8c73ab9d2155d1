package fqt.quant;

import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * GPTQ (Frantar et al. 2022): quantizes the linears of a network layer by layer, each so that the
 * error of its output on the calibration inputs is small, the inputs being those that the layers
 * quantized before it produce.
 *
 * <p>Linears that are fed the same tensor share one Hessian and one factorisation. A linear that no
 * token reached, or whose Hessian no damping makes positive definite, is rounded to nearest
 * instead, and its report says so.
 */
public final class Gptq {
  private Gptq() {}

  /**
   * Quantizes all layers; see {@link #quantize(List, CalibrationInputs, GptqConfig,
   * QuantListener)}.
   */
  public static void quantize(
      List<? extends Module> layers, CalibrationInputs inputs, GptqConfig config) {
    quantize(layers, inputs, config, QuantListener.NONE);
  }

  /**
   * Quantizes all layers, in order. The quantized linears take the places of the old ones and
   * belong to the scope that is current now; the inputs end as the outputs of the last layer.
   *
   * @param layers blocks that follow each other, each fed with what the one before it gives
   * @param inputs calibration inputs of the first layer
   * @throws IllegalArgumentException if a weight or an input holds values that are not finite
   */
  public static void quantize(
      List<? extends Module> layers,
      CalibrationInputs inputs,
      GptqConfig config,
      QuantListener listener) {
    LayerForwardManager forward = new LayerForwardManager(inputs);
    for (int i = 0; i < layers.size(); i++) {
      quantizeLayer("layers." + i, layers.get(i), forward, config, listener);
      forward.advance(layers.get(i));
      listener.layerFinished(i, layers.get(i));
    }
  }

  /**
   * Quantizes one layer and leaves the inputs before it.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param inputs calibration inputs of this layer
   */
  public static void quantizeLayer(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      GptqConfig config,
      QuantListener listener) {
    LayerForwardManager forward = new LayerForwardManager(inputs);
    try {
      quantizeLayer(prefix, layer, forward, config, listener);
    } finally {
      forward.replay().clear();
    }
  }

  /**
   * Quantizes one layer and leaves the inputs before it; {@link LayerForwardManager#advance} of the
   * same manager then moves them behind it in less time than a run of the whole layer takes.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param forward runs the layer over its calibration inputs
   */
  public static void quantizeLayer(
      String prefix,
      Module layer,
      LayerForwardManager forward,
      GptqConfig config,
      QuantListener listener) {
    try (Module.Registration shown =
        config.allExperts() ? SparseMoe.showAllTokens(layer) : () -> {}) {
      quantizeStages(config.rules().targets(prefix, layer), layer, forward, config, listener);
    }
  }

  private static void quantizeStages(
      SequencedMap<String, SchemeRules.Target> targets,
      Module layer,
      LayerForwardManager forward,
      GptqConfig config,
      QuantListener listener) {
    double least = config.leastShare() * forward.inputs().tokens();
    List<InputWatch.Stage> stages =
        config.trueSequential()
            ? InputWatch.stages(layer, targets.sequencedValues(), forward)
            : List.of(InputWatch.Stage.of(targets.sequencedValues()));
    for (InputWatch.Stage stage : stages) {
      try (Scope scope = Scope.open();
          Hessians hessians = Hessians.collect(layer, stage, forward)) {
        for (List<SchemeRules.Target> sharing : sharing(stage.targets(), hessians)) {
          quantizeSharing(sharing, hessians.of(sharing.getFirst()), least, config, listener);
        }
        for (SchemeRules.Target target : stage.targets()) {
          Scheme.keep(scope, target.place().get());
        }
        if (stage.part() != null) {
          forward.replay().finish(stage.part());
        }
      }
    }
  }

  /** Targets with the same Hessian together, in the order of their first. */
  private static Iterable<List<SchemeRules.Target>> sharing(
      List<SchemeRules.Target> stage, Hessians hessians) {
    Map<Object, List<SchemeRules.Target>> byHessian = new IdentityHashMap<>();
    Map<Object, List<SchemeRules.Target>> ordered = new LinkedHashMap<>();
    for (SchemeRules.Target target : stage) {
      Hessian hessian = hessians.of(target);
      Object key = hessian == null ? target : hessian;
      List<SchemeRules.Target> together = byHessian.get(key);
      if (together == null) {
        together = new ArrayList<>();
        byHessian.put(key, together);
        ordered.put(key, together);
      }
      together.add(target);
    }
    return ordered.values();
  }

  private static void quantizeSharing(
      List<SchemeRules.Target> targets,
      Hessian hessian,
      double leastTokens,
      GptqConfig config,
      QuantListener listener) {
    try (Scope scope = Scope.open()) {
      long start = System.nanoTime();
      Factor factor = factor(hessian, leastTokens, config, targets.getFirst().name());
      for (SchemeRules.Target target : targets) {
        quantizeOne(scope, target, factor, config, start, listener);
        start = System.nanoTime();
      }
    }
  }

  private static Factor factor(
      Hessian hessian, double leastTokens, GptqConfig config, String name) {
    if (hessian == null || hessian.tokens() == 0) {
      return Factor.missing("no token reached it: rounded to nearest", 0);
    }
    if (hessian.tokens() < leastTokens) {
      return Factor.missing(
          "only %d tokens reached it: rounded to nearest".formatted(hessian.tokens()),
          hessian.tokens());
    }
    return Factor.of(hessian, config, name);
  }

  private static void quantizeOne(
      Scope outer,
      SchemeRules.Target target,
      Factor factor,
      GptqConfig config,
      long start,
      QuantListener listener) {
    try (Scope scope = Scope.open()) {
      Tensor weight = Rtn.weightOf(target);
      Quantizer quantizer = target.scheme().weights();
      QuantizedWeight quantized;
      double loss;
      if (factor.exists()) {
        GptqSolver.Solution solution = GptqSolver.solve(weight, quantizer, factor, config.order());
        quantized = solution.weight();
        loss = solution.loss();
      } else {
        quantized = quantizer.quantize(weight);
        loss = Rtn.squaredError(weight, quantized);
      }
      quantizer.requireFinite(quantized.scale());
      Module successor = target.scheme().linear(quantized, target.linear());
      target.place().set(Scheme.keep(outer, Scheme.keep(scope, successor)));
      Reports.linear(
          new LinearReport(
              target.name(),
              factor.exists() ? "gptq" : "rtn",
              loss,
              factor.tokens(),
              factor.damping(),
              (System.nanoTime() - start) / 1e9,
              factor.notes()),
          listener);
    }
  }
}
