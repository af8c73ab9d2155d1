package fqt.quant;

import fqt.nn.LayerNorm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.RmsNorm;
import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * Keeps a layer from getting worse: measures states of it by the error of its output when all its
 * linears are rounded to nearest, and goes back to the best.
 *
 * <p>Folds are searched one by one, each as if nothing else were quantized; what is best for each
 * need not be best for all together.
 */
final class LayerJudge implements AutoCloseable {
  /** What a module is made of. */
  private record Parts(Tensor weight, Tensor bias) {
    static Parts of(Module module) {
      return new Parts(module.parameters().get("weight"), module.parameters().get("bias"));
    }

    void restore(Module module) {
      switch (module) {
        case RmsNorm norm -> norm.setWeight(weight);
        case LayerNorm norm -> norm.set(weight, bias);
        case Linear linear -> {
          linear.setWeight(weight);
          if (bias != null) {
            linear.setBias(bias);
          }
        }
        default -> throw new IllegalStateException("cannot restore " + module);
      }
    }
  }

  private final Module layer;
  private final Collection<SchemeRules.Target> targets;
  private final CalibrationInputs inputs;
  private final boolean[] chosen;
  private final CalibrationInputs exact;
  private Map<Module, Parts> best;
  private double leastError = Double.POSITIVE_INFINITY;
  private int considered;
  private int bestIndex;

  /** Keeps the outputs of a layer in some samples as they are now. */
  LayerJudge(String prefix, Module layer, CalibrationInputs inputs, SmoothQuantConfig config) {
    this.layer = layer;
    this.targets = config.rules().targets(prefix, layer).sequencedValues();
    this.inputs = inputs;
    this.chosen = FoldSamples.chosen(inputs, config.searchTokens());
    this.exact = new CalibrationInputs(inputs.device());
    forEachSample((sample, output) -> exact.add(output, inputs.args(sample)));
  }

  @FunctionalInterface
  private interface Seen {
    void output(int sample, Tensor output);
  }

  private void forEachSample(Seen seen) {
    for (int i = 0; i < chosen.length; i++) {
      if (chosen[i]) {
        try (Scope scope = Scope.open()) {
          seen.output(i, layer.apply(inputs.hidden(i), inputs.args(i)));
        }
      }
    }
  }

  /** Measures the layer as it is now, and remembers it if there was none better. */
  double consider() {
    double error = error();
    if (best == null || error < leastError) {
      leastError = error;
      bestIndex = considered;
      best = new IdentityHashMap<>();
      layer.visit(
          (path, module) -> {
            if (module instanceof RmsNorm
                || module instanceof LayerNorm
                || module instanceof Linear) {
              best.put(module, Parts.of(module));
            }
          });
    }
    considered++;
    return error;
  }

  private double error() {
    double[] sum = new double[1];
    int[] next = new int[1];
    try (Scope scope = Scope.open()) {
      for (SchemeRules.Target target : targets) {
        target.place().set(rounded(target));
      }
      forEachSample(
          (sample, output) -> {
            Tensor error = Ops.subtract(output, exact.hidden(next[0]++));
            sum[0] +=
                Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, FakeQuantLinear.rows(error)));
          });
    } finally {
      targets.forEach(target -> target.place().set(target.linear()));
    }
    return sum[0];
  }

  private static Module rounded(SchemeRules.Target target) {
    try (Scope scope = Scope.open()) {
      Tensor weight = Ops.to(Ops.contiguous(target.linear().weight()), DType.F32);
      QuantizedWeight codes = target.scheme().weights().quantize(weight);
      return Scheme.keep(scope, target.scheme().linear(codes, target.linear()));
    }
  }

  /** Puts the layer back to the best state that was considered, and says which that was. */
  int restoreBest() {
    best.forEach((module, parts) -> parts.restore(module));
    return bestIndex;
  }

  @Override
  public void close() {
    exact.close();
  }
}
