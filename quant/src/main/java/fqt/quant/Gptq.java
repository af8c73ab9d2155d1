package fqt.quant;

import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.crew.Crew;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.JointWork;
import fqt.quant.flow.Moments;
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
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/**
 * GPTQ (Frantar et al. 2022): quantizes the linears of a network layer by layer, each so that the
 * error of its output on the calibration inputs is small, the inputs being those that the layers
 * quantized before it produce.
 *
 * <p>Linears that are fed the same tensor share one Hessian and one factorisation. A linear that no
 * token reached, or whose Hessian no damping makes positive definite, is rounded to nearest
 * instead, and its report says so.
 *
 * @param config schemes, damping, order of the columns, and what calibration sees
 * @param listener hears what became of each linear
 */
public record Gptq(GptqConfig config, QuantListener listener) {
  /**
   * Quantizes all layers, heard by nobody.
   *
   * @param layers decoder layers, in order; the quantized linears take their places inside them
   * @param inputs calibration inputs of the first layer; afterwards the outputs of the last
   * @param config schemes, damping, order of the columns, and what calibration sees
   */
  public static void quantize(
      List<? extends Module> layers, CalibrationInputs inputs, GptqConfig config) {
    new Gptq(config, QuantListener.NONE).quantize(layers, inputs);
  }

  /**
   * Quantizes all layers, in order. The quantized linears take the places of the old ones and
   * belong to the scope that is current now; the inputs end as the outputs of the last layer.
   *
   * @param layers blocks that follow each other, each fed with what the one before it gives
   * @param inputs calibration inputs of the first layer
   * @throws IllegalArgumentException if a weight or an input holds values that are not finite
   */
  public void quantize(List<? extends Module> layers, CalibrationInputs inputs) {
    new LayerForwardManager(inputs).walk(layers, this::quantizeLayer, listener);
  }

  /**
   * Quantizes one layer and leaves the inputs before it; {@link LayerForwardManager#advance} of the
   * same manager then moves them behind it in less time than a run of the whole layer takes.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param layer the layer; its linears are replaced
   * @param forward runs the layer over its calibration inputs
   */
  public void quantizeLayer(String prefix, Module layer, LayerForwardManager forward) {
    List<Target> targets = Target.of(prefix, layer, config.rules()::includes);
    try (Module.Registration shown =
        config.allExperts() ? SparseMoe.showAllTokens(layer) : () -> {}) {
      List<Stages.Stage> stages =
          config.trueSequential()
              ? Stages.of(
                  layer, targets, () -> forward.observe(layer, IntStream.of(0), sample -> {}))
              : List.of(Stages.Stage.of(targets));
      stages.forEach(stage -> quantizeStage(layer, stage, forward));
    }
  }

  private void quantizeStage(Module layer, Stages.Stage stage, LayerForwardManager forward) {
    double least = config.leastShare() * forward.member().sum(forward.inputs().tokens());
    try (Scope scope = Scope.open()) {
      List<Solved> solved =
          JointWork.divide(
              forward.member(),
              stage.targets(),
              () -> sums(layer, stage, forward),
              (targets, sum) -> solve(targets, sum, least),
              Solved::map);
      settle(stage.targets(), solved, forward.member(), listener, scope);
    }
    if (stage.part() != null) {
      forward.replay().finish(stage.part());
    }
  }

  /** {@code Σ xᵀx} over each distinct input x of a stage's linears. */
  static SharedInputs<ChunkSum> sums(
      Module layer, Stages.Stage stage, LayerForwardManager forward) {
    return SharedInputs.collect(
        stage,
        forward.replay(),
        starting -> forward.observe(layer, starting),
        input -> Moments.none(forward.member(), input.dim(-1)),
        (sum, input) -> Moments.add(sum, input, forward.chunk()));
  }

  /** Chooses the codes of linears with the same inputs. */
  private List<Solved> solve(List<Target> targets, ChunkSum sum, double least) {
    long start = System.nanoTime();
    List<Solved> solved = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Factor factor = Factor.of(sum, least, config, targets.getFirst().name());
      for (Target target : targets) {
        Scheme scheme = config.rules().choice(target.name());
        solved.add(solve(target, scheme, factor, start).map(scope::keep));
        start = System.nanoTime();
      }
    }
    return solved;
  }

  /** Chooses a linear's codes, by GPTQ if there is a factor, else by rounding to nearest. */
  static Solved solve(Target target, Scheme scheme, Factor factor, long start) {
    try (Scope scope = Scope.open()) {
      Tensor weight = target.weight();
      boolean nearest = factor.upper() == null;
      GptqSolver.Solution solution =
          nearest
              ? nearest(weight, scheme.weights())
              : GptqSolver.solve(weight, scheme.weights(), factor);
      LinearReport report =
          new LinearReport(
              target.name(),
              nearest ? "rtn" : "gptq",
              solution.loss(),
              factor.tokens(),
              factor.damping(),
              (System.nanoTime() - start) / 1e9,
              factor.notes());
      return new Solved(scheme, solution.weight(), report).map(scope::keep);
    }
  }

  /** The loss is Σ (w − ŵ)². */
  private static GptqSolver.Solution nearest(Tensor weight, Quantizer quantizer) {
    QuantizedWeight quantized = quantizer.quantize(weight);
    double loss = Host.sumOfSquares(Ops.subtract(weight, quantized.dequantize()));
    return new GptqSolver.Solution(quantized, loss);
  }

  /** A linear whose codes were chosen. */
  record Solved(Scheme scheme, QuantizedWeight weight, LinearReport report) {
    Solved map(UnaryOperator<Tensor> change) {
      return new Solved(scheme, weight.map(change), report);
    }
  }

  /** Puts quantized linears into their places, where they outlive a scope. */
  static void settle(
      List<Target> targets,
      List<Solved> solved,
      Crew.Member member,
      QuantListener listener,
      Scope scope) {
    for (int i = 0; i < targets.size(); i++) {
      Scheme scheme = solved.get(i).scheme;
      Tensor bias = targets.get(i).linear().bias();
      Module linear = scheme.linearType().of(solved.get(i).weight, bias, scheme);
      targets.get(i).place().set(Module.keep(scope, linear));
      if (member.leads()) {
        Reports.linear(solved.get(i).report, listener);
      }
    }
  }
}
