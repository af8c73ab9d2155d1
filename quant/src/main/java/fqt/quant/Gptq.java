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
import java.util.ArrayList;
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
    double least = config.leastShare() * forward.allTokens();
    try (Module.Registration shown =
        config.allExperts() ? SparseMoe.showAllTokens(layer) : () -> {}) {
      List<Stages.Stage> stages =
          config.trueSequential()
              ? Stages.of(layer, targets, () -> forward.observe(layer, 0))
              : List.of(Stages.Stage.of(targets));
      for (Stages.Stage stage : stages) {
        try (Scope scope = Scope.open()) {
          List<Solved> own = solve(layer, stage, forward, config, least);
          List<Solved> all = Solved.share(forward.member(), own, stage.targets().size());
          for (int i = 0; i < all.size(); i++) {
            Target target = stage.targets().get(i);
            Scheme.keep(scope, all.get(i).settle(target, config.rules().schemeOf(target)));
            if (forward.member().leads()) {
              Reports.linear(all.get(i).report(), listener);
            }
          }
        }
        if (stage.part() != null) {
          forward.replay().finish(stage.part());
        }
      }
    }
  }

  /** Chooses the codes of those linears of a stage that are this device's, in the current scope. */
  private static List<Solved> solve(
      Module layer,
      Stages.Stage stage,
      LayerForwardManager forward,
      GptqConfig config,
      double least) {
    List<Solved> solved = new ArrayList<>();
    try (Scope scope = Scope.open();
        SharedInputs<Hessian> hessians = hessians(layer, stage, forward)) {
      List<JointHessians.Group> groups =
          JointHessians.of(forward.member(), stage.targets(), hessians);
      for (JointHessians.Group group : groups) {
        long start = System.nanoTime();
        try (Scope inner = Scope.open()) {
          String name = stage.targets().get(group.targets().getFirst()).name();
          Factor factor = Factor.of(group.hessian(), least, config, name);
          for (int number : group.targets()) {
            if (forward.member().does(number)) {
              Target target = stage.targets().get(number);
              Scheme scheme = config.rules().schemeOf(target);
              solved.add(solve(number, target, scheme, factor, start).keep(inner).keep(scope));
              start = System.nanoTime();
            }
          }
        }
      }
    }
    return solved;
  }

  /** One for each distinct input of a stage's linears. */
  static SharedInputs<Hessian> hessians(
      Module layer, Stages.Stage stage, LayerForwardManager forward) {
    return SharedInputs.collect(
        stage,
        forward.replay(),
        starting -> forward.observe(layer, starting),
        input -> new Hessian(forward.member(), input.dim(-1)),
        (hessian, input) -> hessian.add(input, forward.chunk()));
  }

  /** Chooses a linear's codes, by GPTQ if there is a factor. */
  static Solved solve(int number, Target target, Scheme scheme, Factor factor, long start) {
    try (Scope scope = Scope.open()) {
      Tensor weight = target.weight();
      Quantizer quantizer = scheme.weights();
      GptqSolver.Solution solution =
          factor.exists()
              ? GptqSolver.solve(weight, quantizer, factor)
              : nearest(weight, quantizer);
      quantizer.requireFinite(solution.weight().scale());
      LinearReport report =
          new LinearReport(
              target.name(),
              factor.exists() ? "gptq" : "rtn",
              solution.loss(),
              factor.tokens(),
              factor.damping(),
              (System.nanoTime() - start) / 1e9,
              factor.notes());
      return new Solved(number, solution.weight(), report).keep(scope);
    }
  }

  /** Round to nearest; the loss is Σ (w − ŵ)². */
  private static GptqSolver.Solution nearest(Tensor weight, Quantizer quantizer) {
    QuantizedWeight quantized = quantizer.quantize(weight);
    double loss = Host.sumOfSquares(Ops.subtract(weight, quantized.dequantize()));
    return new GptqSolver.Solution(quantized, loss);
  }
}
