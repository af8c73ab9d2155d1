package fqt.quant;

import fqt.nn.Module;
import fqt.quant.flow.ColumnSizes;
import fqt.quant.flow.Fold;
import fqt.quant.flow.Target;
import fqt.quant.report.FoldReport;
import fqt.quant.report.QuantListener;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.DoubleSummaryStatistics;
import java.util.List;
import java.util.function.Function;

/**
 * Tries factors for one fold of a layer after the other and applies the best.
 *
 * @param quantized all linears that will be quantized: their weights may stay in F32
 */
record FoldSearch(
    SmoothQuantConfig config, List<Target> quantized, List<Fold> folds, QuantListener listener) {
  /** Finds and applies the best factors of all folds; new tensors belong to the current scope. */
  List<FoldReport> run() {
    return folds.stream().map(this::smooth).toList();
  }

  private FoldReport smooth(Fold fold) {
    long start = System.nanoTime();
    double before = Double.NaN;
    double best = Double.NaN;
    double ratio = Double.NaN;
    float[] factors = null;
    if (fold.runs().size() > 0) {
      double[] activations = fold.sizes().byChannel(fold.scale());
      double[] weights = weightSizes(fold);
      double[] ratios = config.ratios();
      List<float[]> candidates = new ArrayList<>();
      candidates.add(null);
      for (double tried : ratios) {
        candidates.add(factors(activations, weights, tried));
      }
      double[] losses = losses(fold, candidates);
      before = losses[0];
      best = before;
      for (int i = 1; i < losses.length; i++) {
        if (losses[i] < best || !config.searches()) {
          best = losses[i];
          ratio = ratios[i - 1];
          factors = candidates.get(i);
        }
      }
      if (!Double.isFinite(best)) {
        throw new IllegalStateException(
            "no smoothing of " + fold.producer() + " gives a finite loss; the inputs overflow");
      }
    }
    if (factors != null) {
      fold.scale().apply(factors, m -> quantized.stream().anyMatch(t -> t.linear() == m));
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return new FoldReport(fold.producer(), fold.consumers(), ratio, factors, before, best, seconds);
  }

  /** How large the quantized consumers' weights are; for AWQ relative to their group's largest. */
  private double[] weightSizes(Fold fold) {
    ColumnSizes sizes = new ColumnSizes(config.mean());
    for (Target target : fold.targets()) {
      try (Scope scope = Scope.open()) {
        Tensor weight = target.weight();
        if (config.mean()) {
          long group = scheme(target).weights().blocks().columnsOf(weight.dim(1));
          Tensor size = Ops.unary(UnaryOp.ABS, weight);
          Tensor largest = QuantOps.blockRange(size, new Blocks(1, group)).max();
          Tensor divisor = Ops.affine(largest, 1, 1e-6f);
          weight = Ops.divide(size, Host.spread(divisor, group, weight.dim(1)));
        }
        sizes.add(weight, 0);
      }
    }
    return sizes.byChannel(fold.scale());
  }

  /** The factors of a ratio, one for each channel of the producer; their geometric middle is 1. */
  private float[] factors(double[] activations, double[] weights, double ratio) {
    double[] factors = new double[activations.length];
    // A channel that never carried anything keeps its scale and has no say in the middle.
    Arrays.setAll(
        factors, i -> activations[i] > 0 ? factor(activations[i], weights[i], ratio) : Double.NaN);
    // One factor common to all channels changes nothing: centre them, to stay clear of overflow.
    DoubleSummaryStatistics range =
        Arrays.stream(factors).filter(factor -> factor > 0).summaryStatistics();
    double middle = Math.sqrt(range.getMin() * range.getMax());
    float[] centred = new float[factors.length];
    for (int i = 0; i < factors.length; i++) {
      double factor = factors[i] / middle;
      centred[i] = factor > 0 && Double.isFinite(factor) ? (float) factor : 1;
    }
    return centred;
  }

  /**
   * AWQ: {@code mean|x|^r / mean(|w| / max of its group)^(1−r)}, the weights' part only with {@code
   * duoScale} (Lin et al. 2023); SmoothQuant: {@code max|x|^r / max|w|^(1−r)} (Xiao et al. 2022).
   */
  private double factor(double activation, double weight, double ratio) {
    double size = Math.pow(activation, ratio);
    if (!config.mean()) {
      return Math.max(size / Math.pow(Math.max(weight, 1e-5), 1 - ratio), 1e-5);
    }
    return Math.max(config.duoScale() ? size / (Math.pow(weight, 1 - ratio) + 1e-4) : size, 1e-4);
  }

  /** Mean squared errors of the block's output with the consumers quantized under the factors. */
  private double[] losses(Fold fold, List<float[]> candidates) {
    List<Function<Target, Module>> trials = new ArrayList<>();
    for (float[] factors : candidates) {
      float[] columns = factors == null ? null : fold.scale().columns(factors);
      double share = (double) trials.size() / candidates.size();
      trials.add(
          target -> {
            listener.searching(fold.producer(), (folds.indexOf(fold) + share) / folds.size());
            return trial(target, columns);
          });
    }
    return fold.runs().errors(fold.targets(), trials);
  }

  private Scheme scheme(Target target) {
    return config.rules().choice(target.name());
  }

  /** {@code Q(x / s) Q(W s)ᵀ + b}, fed with x. */
  private Module trial(Target target, float[] factors) {
    try (Scope scope = Scope.open()) {
      Tensor weight = Ops.to(Ops.contiguous(target.linear().weight()), DType.F32);
      Tensor divisor = null;
      if (factors != null) {
        divisor = Host.tensor(weight.device(), factors, factors.length);
        weight = Ops.multiply(weight, divisor);
      }
      Scheme scheme = scheme(target);
      Tensor rounded = scheme.weights().withSearch(false).fake(weight);
      Tensor bias = target.linear().bias();
      return Module.keep(scope, new FakeQuantLinear(rounded, bias, scheme, divisor));
    }
  }
}
