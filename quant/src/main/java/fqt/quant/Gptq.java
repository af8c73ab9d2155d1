package fqt.quant;

import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.crew.Crew;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.JointWork;
import fqt.quant.flow.SharedInputs;
import fqt.quant.flow.Stages;
import fqt.quant.flow.Target;
import fqt.quant.report.LinearReport;
import fqt.quant.report.QuantListener;
import fqt.quant.report.Reports;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

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
    List<Target> targets = Target.of(prefix, layer, config.rules()::includes);
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
    double least = config.leastShare() * forward.allTokens();
    try (Scope scope = Scope.open()) {
      List<Solved> solved =
          JointWork.divide(
              forward.member(),
              stage.targets(),
              () -> sums(layer, stage, forward),
              (targets, sum) -> solve(targets, sum, least, config),
              Solved::map);
      settle(stage.targets(), solved, forward.member(), config.rules(), listener, scope);
    }
    if (stage.part() != null) {
      forward.replay().finish(stage.part());
    }
  }

  /** What a Hessian is made of, for each distinct input of a stage's linears. */
  static SharedInputs<ChunkSum> sums(
      Module layer, Stages.Stage stage, LayerForwardManager forward) {
    return SharedInputs.collect(
        stage,
        forward.replay(),
        starting -> forward.observe(layer, starting),
        input -> new ChunkSum(forward.member(), input.dim(-1), input.dim(-1)),
        (sum, input) -> Hessian.add(sum, input, forward.chunk()));
  }

  /** Chooses the codes of linears with the same inputs. */
  private static List<Solved> solve(
      List<Target> targets, ChunkSum sum, double least, GptqConfig config) {
    long start = System.nanoTime();
    List<Solved> solved = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Hessian hessian = sum == null ? null : new Hessian(sum);
      Factor factor = Factor.of(hessian, least, config, targets.getFirst().name());
      for (Target target : targets) {
        solved.add(
            solve(target, config.rules().choice(target.name()), factor, start).map(scope::keep));
        start = System.nanoTime();
      }
    }
    return solved;
  }

  /** Chooses a linear's codes, by GPTQ if there is a factor. */
  static Solved solve(Target target, Scheme scheme, Factor factor, long start) {
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
      return new Solved(solution.weight(), report).map(scope::keep);
    }
  }

  /** A linear whose codes were chosen. */
  record Solved(QuantizedWeight weight, LinearReport report) {
    Solved map(UnaryOperator<Tensor> change) {
      return new Solved(weight.map(change), report);
    }
  }

  /** Puts quantized linears into their places, where they outlive a scope. */
  static void settle(
      List<Target> targets,
      List<Solved> solved,
      Crew.Member member,
      LinearRules<Scheme> rules,
      QuantListener listener,
      Scope scope) {
    for (int i = 0; i < targets.size(); i++) {
      Target target = targets.get(i);
      Scheme scheme = rules.choice(target.name());
      QuantizedWeight weight = solved.get(i).weight;
      Module linear = scheme.linearType().of(weight, target.linear().bias(), scheme);
      target.place().set(Scheme.keep(scope, linear));
      if (member.leads()) {
        Reports.linear(solved.get(i).report, listener);
      }
    }
  }

  /** Round to nearest; the loss is Σ (w − ŵ)². */
  private static GptqSolver.Solution nearest(Tensor weight, Quantizer quantizer) {
    QuantizedWeight quantized = quantizer.quantize(weight);
    double loss = Host.sumOfSquares(Ops.subtract(weight, quantized.dequantize()));
    return new GptqSolver.Solution(quantized, loss);
  }
}
