package fqt.quant;

import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.flow.SharedInputs;
import fqt.quant.flow.Stages;
import fqt.quant.flow.Target;
import fqt.quant.report.LinearReport;
import fqt.quant.report.QuantListener;
import fqt.quant.report.Reports;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;

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
    forward.walk(
        layers,
        listener,
        (prefix, layer) -> quantizeLayer(prefix, layer, forward, config, listener));
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
    List<Target> targets = config.rules().targets(prefix, layer);
    try (Module.Registration shown =
        config.allExperts() ? SparseMoe.showAllTokens(layer) : () -> {}) {
      List<Stages.Stage> stages =
          config.trueSequential()
              ? Stages.of(layer, targets, () -> forward.observe(layer, 0))
              : List.of(Stages.Stage.of(targets));
      for (Stages.Stage stage : stages) {
        quantizeStage(layer, stage, forward, config, listener);
      }
    }
  }

  private static void quantizeStage(
      Module layer,
      Stages.Stage stage,
      LayerForwardManager forward,
      GptqConfig config,
      QuantListener listener) {
    try (SharedInputs<Hessian> hessians = hessians(layer, stage, forward)) {
      for (List<Target> sharing : hessians.sharing(stage.targets())) {
        long start = System.nanoTime();
        Hessian hessian = hessians.of(sharing.getFirst());
        double least = config.leastShare() * forward.inputs().tokens();
        try (Scope scope = Scope.open()) {
          Factor factor = Factor.of(hessian, least, config, sharing.getFirst().name());
          for (Target target : sharing) {
            quantizeOne(target, config.rules().schemeOf(target), factor, start, listener);
            Scheme.keep(scope, target.place().get());
            start = System.nanoTime();
          }
        }
      }
    }
    if (stage.part() != null) {
      forward.replay().finish(stage.part());
    }
  }

  /** One for each distinct input of a stage's linears. */
  static SharedInputs<Hessian> hessians(
      Module layer, Stages.Stage stage, LayerForwardManager forward) {
    return SharedInputs.collect(
        stage,
        forward.replay(),
        starting -> forward.observe(layer, starting),
        input -> new Hessian(input.device(), input.dim(-1)),
        Hessian::add);
  }

  /** Chooses a linear's codes, by GPTQ if there is a factor, and puts its successor in place. */
  static void quantizeOne(
      Target target, Scheme scheme, Factor factor, long start, QuantListener listener) {
    try (Scope scope = Scope.open()) {
      Tensor weight = target.weight();
      Quantizer quantizer = scheme.weights();
      GptqSolver.Solution solution =
          factor.exists()
              ? GptqSolver.solve(weight, quantizer, factor)
              : nearest(weight, quantizer);
      quantizer.requireFinite(solution.weight().scale());
      target.place().set(Scheme.keep(scope, scheme.linear(solution.weight(), target.linear())));
      Reports.linear(
          new LinearReport(
              target.name(),
              factor.exists() ? "gptq" : "rtn",
              solution.loss(),
              factor.tokens(),
              factor.damping(),
              (System.nanoTime() - start) / 1e9,
              factor.notes()),
          listener);
    }
  }

  /** Round to nearest; the loss is Σ (w − ŵ)². */
  private static GptqSolver.Solution nearest(Tensor weight, Quantizer quantizer) {
    QuantizedWeight quantized = quantizer.quantize(weight);
    double loss = Host.sumOfSquares(Ops.subtract(weight, quantized.dequantize()));
    return new GptqSolver.Solution(quantized, loss);
  }
}
