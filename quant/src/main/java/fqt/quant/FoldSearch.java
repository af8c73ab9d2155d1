package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Axis;
import fqt.tensor.Blocks;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/** Tries factors for one fold after the other and applies the best. */
final class FoldSearch {
  private final SmoothQuantConfig config;
  private final FoldSamples samples;
  private final SequencedMap<String, float[]> chosen = new LinkedHashMap<>();

  FoldSearch(SmoothQuantConfig config, FoldSamples samples) {
    this.config = config;
    this.samples = samples;
  }

  /** What was applied so far: one factor for each channel, by the full path of the producer. */
  SequencedMap<String, float[]> factors() {
    return chosen;
  }

  /** Finds and applies the best factors; new tensors belong to the current scope. */
  FoldReport smooth(Fold fold) {
    long start = System.nanoTime();
    FoldSamples.Channels channels = samples.channels(fold.reader());
    double before = Double.NaN;
    double best = Double.NaN;
    double ratio = Double.NaN;
    float[] factors = null;
    if (channels.tokens() > 0 && !config.searches()) {
      ratio = config.alpha();
      factors = factors(fold, channels, weightSizes(fold), ratio);
    } else if (channels.tokens() > 0 && samples.runs(fold.block()).inputs().size() > 0) {
      double[] weightSizes = weightSizes(fold);
      before = loss(fold, null);
      best = before;
      for (int i = 0; i < config.grid(); i++) {
        double candidateRatio = (double) i / config.grid();
        float[] candidate = factors(fold, channels, weightSizes, candidateRatio);
        double loss = loss(fold, candidate);
        if (loss < best) {
          best = loss;
          ratio = candidateRatio;
          factors = candidate;
        }
      }
      if (!Double.isFinite(best)) {
        throw new IllegalStateException(
            "no smoothing of " + fold.producer() + " gives a finite loss; the inputs overflow");
      }
    }
    if (factors != null) {
      fold.apply(factors);
      chosen.put(fold.producer(), factors);
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return new FoldReport(fold.producer(), fold.consumers(), ratio, before, best, seconds);
  }

  /** The factors of a ratio, one for each channel of the producer. */
  private float[] factors(
      Fold fold, FoldSamples.Channels channels, double[] weightSizes, double ratio) {
    double[] activations =
        config.statistic() == SmoothQuantConfig.Statistic.MEAN
            ? byChannel(fold, channels.means(), false)
            : byChannel(fold, widened(channels.maxima()), true);
    double[] factors = new double[activations.length];
    double smallest = Double.POSITIVE_INFINITY;
    double largest = 0;
    for (int i = 0; i < factors.length; i++) {
      // A channel that never carried anything keeps its scale and has no say in the middle.
      if (activations[i] > 0) {
        factors[i] = factor(activations[i], weightSizes[i], ratio);
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

  private double factor(double activation, double weightSize, double ratio) {
    if (config.statistic() == SmoothQuantConfig.Statistic.MAX) {
      double weights = Math.pow(Math.max(weightSize, 1e-5), 1 - ratio);
      return Math.max(Math.pow(activation, ratio) / weights, 1e-5);
    }
    double weights = config.duoScale() ? Math.pow(weightSize, 1 - ratio) + 1e-4 : 1;
    return Math.max(Math.pow(activation, ratio) / weights, 1e-4);
  }

  private static double[] widened(float[] values) {
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    return wide;
  }

  /** One number for each producer channel from one for each consumer column. */
  private static double[] byChannel(Fold fold, double[] columns, boolean largest) {
    int[] channelOf = fold.channelOfColumn();
    double[] channels = new double[Math.toIntExact(fold.scale().channels())];
    for (int i = 0; i < columns.length; i++) {
      channels[channelOf[i]] =
          largest
              ? Math.max(channels[channelOf[i]], columns[i])
              : channels[channelOf[i]] + columns[i] / fold.scale().repeat();
    }
    return channels;
  }

  /** How large the quantized consumers' weights are, for each producer channel. */
  private double[] weightSizes(Fold fold) {
    boolean mean = config.statistic() == SmoothQuantConfig.Statistic.MEAN;
    double[] columns = null;
    long rows = 0;
    for (SchemeRules.Target target : fold.targets()) {
      try (Scope scope = Scope.open()) {
        Tensor weight = Rtn.weightOf(target);
        float[] sizes =
            Host.floats(
                mean
                    ? Ops.reduce(ReduceOp.MEAN, Axis.COLUMNS, relative(weight, target))
                    : Ops.reduce(ReduceOp.MAX_ABS, Axis.COLUMNS, weight));
        columns = columns == null ? new double[sizes.length] : columns;
        for (int i = 0; i < sizes.length; i++) {
          columns[i] =
              mean
                  ? columns[i] + (double) sizes[i] * weight.dim(0)
                  : Math.max(columns[i], sizes[i]);
        }
        rows += weight.dim(0);
      }
    }
    if (mean) {
      long all = rows;
      columns = Arrays.stream(columns).map(sum -> sum / all).toArray();
    }
    return byChannel(fold, columns, !mean);
  }

  /** |w| relative to the largest of its group. */
  private static Tensor relative(Tensor weight, SchemeRules.Target target) {
    long group = target.scheme().weights().blocks().columnsOf(weight.dim(1));
    Tensor size = Ops.unary(UnaryOp.ABS, weight);
    Tensor largest = Ops.blockRange(size, new Blocks(1, group)).max();
    int[] groupOf = new int[Math.toIntExact(weight.dim(1))];
    Arrays.setAll(groupOf, i -> (int) (i / group));
    Tensor spread =
        QuantizedWeight.columns(
            Ops.affine(largest, 1, 1e-6f), Host.index(weight.device(), groupOf));
    return Ops.divide(size, spread);
  }

  /** Mean squared error of the block's output with the consumers quantized under the factors. */
  private double loss(Fold fold, float[] factors) {
    try (Scope scope = Scope.open();
        Trial trial = new Trial(fold, factors)) {
      FoldSamples.BlockRuns runs = samples.runs(fold.block());
      double sum = 0;
      long count = 0;
      for (int i = 0; i < runs.inputs().size(); i++) {
        try (Scope one = Scope.open()) {
          Tensor found = trial.block().apply(runs.inputs().hidden(i), runs.inputs().args(i));
          Tensor error = Ops.subtract(found, runs.outputs().hidden(i));
          sum += Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, FakeQuantLinear.rows(error)));
          count += error.count();
        }
      }
      return sum / count;
    }
  }

  /** The consumers of a fold quantized for a try; closing puts the originals back. */
  private static final class Trial implements AutoCloseable {
    private final Fold fold;

    Trial(Fold fold, float[] factors) {
      this.fold = fold;
      for (SchemeRules.Target target : fold.targets()) {
        target.place().set(trial(target, factors == null ? null : fold.spread(factors)));
      }
    }

    /** What is run: the block, or the trial itself where the block is the only consumer. */
    Module block() {
      boolean alone = fold.block() == fold.targets().getFirst().linear();
      return alone ? fold.targets().getFirst().place().get() : fold.block();
    }

    private static Module trial(SchemeRules.Target target, float[] columns) {
      Quantizer quantizer = target.scheme().weights().withSearch(false);
      try (Scope scope = Scope.open()) {
        Tensor weight = Rtn.weightOf(target);
        Tensor factors =
            columns == null ? null : Host.tensor(weight.device(), columns, columns.length);
        Tensor rounded = quantizer.fake(factors == null ? weight : Ops.multiply(weight, factors));
        return Scheme.keep(
            scope,
            new TrialLinear(
                rounded, target.linear().bias(), factors, target.scheme().activations()));
      }
    }

    @Override
    public void close() {
      for (SchemeRules.Target target : fold.targets()) {
        target.place().set(target.linear());
      }
    }
  }

  /** {@code Q(x / s) Q(W s)ᵀ + b}, fed with x. */
  private static final class TrialLinear extends Module {
    private final Tensor weight;
    private final Tensor bias;
    private final Tensor factors;
    private final Quantizer activations;

    TrialLinear(Tensor weight, Tensor bias, Tensor factors, Quantizer activations) {
      this.weight = weight;
      this.bias = bias;
      this.factors = factors;
      this.activations = activations;
      parameter("weight", weight);
      parameter("factors", factors);
    }

    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      try (Scope scope = Scope.open()) {
        Tensor x = FakeQuantLinear.rows(input);
        if (factors != null) {
          x = Ops.divide(x, factors);
        }
        if (activations != null) {
          x = activations.fake(x);
        }
        return scope.keep(FakeQuantLinear.restore(Ops.linear(x, weight, bias), input));
      }
    }
  }
}
