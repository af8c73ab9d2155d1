package fqt.quant;

import fqt.nn.Hooks;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.SmoothQuantConfig.Statistic;
import fqt.quant.flow.BlockRuns;
import fqt.quant.flow.Target;
import fqt.quant.report.FoldReport;
import fqt.quant.report.QuantListener;
import fqt.tensor.Blocks;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Tries factors for the folds of a layer, one fold after the other, and applies the best. What it
 * knows of the activations is taken in one run of all calibration samples: the size of every
 * channel that a fold could scale, and, for some samples, what went into and came out of the blocks
 * that candidates are judged by. Every expert of a mixture sees every token.
 */
final class FoldSearch implements AutoCloseable {
  private static final int EXPERTS_IN_FULL = 8;

  private final SmoothQuantConfig config;
  private final List<Fold> folds;
  private final Predicate<Module> widened;
  private final QuantListener listener;
  private final Map<Module, ColumnSizes> activations = new IdentityHashMap<>();
  private final Map<String, BlockRuns> runs = new HashMap<>();
  private final Map<String, float[]> chosen = new LinkedHashMap<>();

  /** Runs all samples through the layer. */
  FoldSearch(
      String prefix,
      Module layer,
      CalibrationInputs inputs,
      SmoothQuantConfig config,
      QuantListener listener) {
    this.config = config;
    List<Target> targets = config.rules().targets(prefix, layer);
    folds = Fold.of(prefix, layer, targets);
    widened = module -> targets.stream().anyMatch(target -> target.linear() == module);
    this.listener = listener;
    BitSet kept = inputs.spread(config.searchTokens());
    boolean[] keeping = new boolean[1];
    try (Hooks hooks = new Hooks()) {
      hooks.add(SparseMoe.showAllTokens(layer));
      for (Fold fold : folds) {
        if (!activations.containsKey(fold.reader())) {
          ColumnSizes sizes = new ColumnSizes(config.statistic());
          activations.put(fold.reader(), sizes);
          hooks.add(fold.reader().before((module, input, args) -> sizes.add(input)));
        }
        if (!runs.containsKey(fold.block())) {
          BlockRuns block = new BlockRuns(layer, fold.block(), inputs.device());
          runs.put(fold.block(), block);
          int stride = layer.find(fold.block()) instanceof Linear ? stride(fold) : 1;
          hooks.add(
              layer
                  .find(fold.block())
                  .after(
                      (module, input, args, output) -> {
                        if (keeping[0] && input.dim(0) > 0) {
                          block.add(input, args, output, stride);
                        }
                      }));
        }
      }
      new LayerForwardManager(inputs).observe(layer, sample -> keeping[0] = kept.get(sample));
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  /** Of many experts, each of which sees every token, only every so many-th token is kept. */
  private int stride(Fold fold) {
    String kind = Target.kind(fold.producer());
    long alike = folds.stream().filter(f -> Target.kind(f.producer()).equals(kind)).count();
    return Math.toIntExact(Math.max(1, alike / EXPERTS_IN_FULL));
  }

  /** What was applied: one factor for each channel, by the full path of the producer. */
  Map<String, float[]> factors() {
    return chosen;
  }

  /** Finds and applies the best factors of all folds; new tensors belong to the current scope. */
  List<FoldReport> run() {
    List<FoldReport> reports = new ArrayList<>();
    for (Fold fold : folds) {
      reports.add(smooth(fold));
    }
    return reports;
  }

  private FoldReport smooth(Fold fold) {
    long start = System.nanoTime();
    ColumnSizes sizes = activations.get(fold.reader());
    double before = Double.NaN;
    double best = Double.NaN;
    double ratio = Double.NaN;
    float[] factors = null;
    if (sizes.rows() > 0 && !config.searches()) {
      ratio = config.alpha();
      factors = factors(sizes.byChannel(fold.scale()), weightSizes(fold), ratio);
    } else if (sizes.rows() > 0 && runs.get(fold.block()).size() > 0) {
      double[] activation = sizes.byChannel(fold.scale());
      double[] weight = weightSizes(fold);
      before = loss(fold, null);
      best = before;
      for (int i = 0; i < config.grid(); i++) {
        double tried = (double) i / config.grid();
        listener.searching(fold.producer(), (folds.indexOf(fold) + tried) / folds.size());
        float[] candidate = factors(activation, weight, tried);
        double loss = loss(fold, candidate);
        if (loss < best) {
          best = loss;
          ratio = tried;
          factors = candidate;
        }
      }
      if (!Double.isFinite(best)) {
        throw new IllegalStateException(
            "no smoothing of " + fold.producer() + " gives a finite loss; the inputs overflow");
      }
    }
    if (factors != null) {
      fold.scale().apply(factors, widened);
      chosen.put(fold.producer(), factors);
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return new FoldReport(fold.producer(), fold.consumers(), ratio, before, best, seconds);
  }

  /** How large the quantized consumers' weights are; for AWQ relative to their group's largest. */
  private double[] weightSizes(Fold fold) {
    ColumnSizes sizes = new ColumnSizes(config.statistic());
    for (Target target : fold.targets()) {
      try (Scope scope = Scope.open()) {
        Tensor weight = target.weight();
        if (config.statistic() == Statistic.MEAN) {
          long group = config.rules().schemeOf(target).weights().blocks().columnsOf(weight.dim(1));
          Tensor size = Ops.unary(UnaryOp.ABS, weight);
          Tensor largest = Ops.blockRange(size, new Blocks(1, group)).max();
          weight =
              Ops.divide(
                  size, ClipSearch.spread(Ops.affine(largest, 1, 1e-6f), group, weight.dim(1)));
        }
        sizes.add(weight);
      }
    }
    return sizes.byChannel(fold.scale());
  }

  /** The factors of a ratio, one for each channel of the producer. */
  private float[] factors(double[] activations, double[] weights, double ratio) {
    double[] factors = new double[activations.length];
    double smallest = Double.POSITIVE_INFINITY;
    double largest = 0;
    for (int i = 0; i < factors.length; i++) {
      // A channel that never carried anything keeps its scale and has no say in the middle.
      if (activations[i] > 0) {
        factors[i] = factor(activations[i], weights[i], ratio);
        smallest = Math.min(smallest, factors[i]);
        largest = Math.max(largest, factors[i]);
      }
    }
    // One factor common to all channels changes nothing: centre them, to stay clear of overflow.
    double middle = Math.sqrt(smallest * largest);
    float[] centred = new float[factors.length];
    for (int i = 0; i < factors.length; i++) {
      double factor = factors[i] / middle;
      centred[i] = factor > 0 && Double.isFinite(factor) ? (float) factor : 1;
    }
    return centred;
  }

  private double factor(double activation, double weight, double ratio) {
    double size = Math.pow(activation, ratio);
    if (config.statistic() == Statistic.MAX) {
      return Math.max(size / Math.pow(Math.max(weight, 1e-5), 1 - ratio), 1e-5);
    }
    return Math.max(config.duoScale() ? size / (Math.pow(weight, 1 - ratio) + 1e-4) : size, 1e-4);
  }

  /** Mean squared error of the block's output with the consumers quantized under the factors. */
  private double loss(Fold fold, float[] factors) {
    float[] columns = factors == null ? null : fold.scale().columns(factors);
    return runs.get(fold.block())
        .error(fold.targets(), target -> trial(target, config.rules().schemeOf(target), columns));
  }

  /** {@code Q(x / s) Q(W s)ᵀ + b}, fed with x. */
  private static Module trial(Target target, Scheme scheme, float[] factors) {
    try (Scope scope = Scope.open()) {
      Tensor weight = target.weight();
      Tensor divisor = null;
      if (factors != null) {
        divisor = Host.tensor(weight.device(), factors, factors.length);
        weight = Ops.multiply(weight, divisor);
      }
      Tensor rounded = scheme.weights().withSearch(false).fake(weight);
      Tensor bias = target.linear().bias();
      return Scheme.keep(scope, new FakeQuantLinear(rounded, bias, scheme, divisor));
    }
  }

  @Override
  public void close() {
    runs.values().forEach(BlockRuns::close);
  }
}
