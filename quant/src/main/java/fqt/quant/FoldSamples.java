package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Axis;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * What the smoothing search knows of a layer's activations, taken in one run of all calibration
 * samples: the size of every channel that a fold could scale, and, for some samples, what went into
 * and came out of the blocks that candidates are judged by.
 */
final class FoldSamples implements AutoCloseable {
  /** Sums and maxima of |x| by channel, over all tokens. */
  static final class Channels {
    private double[] sums;
    private float[] maxima;
    private long tokens;

    private void add(Tensor x) {
      try (Scope scope = Scope.open()) {
        Tensor rows = FakeQuantLinear.rows(x);
        if (rows.dim(0) == 0) {
          return;
        }
        float[] mean = Host.floats(Ops.reduce(ReduceOp.MEAN_ABS, Axis.COLUMNS, rows));
        float[] largest = Host.floats(Ops.reduce(ReduceOp.MAX_ABS, Axis.COLUMNS, rows));
        sums = sums == null ? new double[mean.length] : sums;
        maxima = maxima == null ? new float[mean.length] : maxima;
        for (int i = 0; i < mean.length; i++) {
          sums[i] += (double) mean[i] * rows.dim(0);
          maxima[i] = Math.max(maxima[i], largest[i]);
        }
        tokens += rows.dim(0);
      }
    }

    /** Tokens seen. */
    long tokens() {
      return tokens;
    }

    /** Mean |x| of each channel. */
    double[] means() {
      return Arrays.stream(sums).map(sum -> sum / tokens).toArray();
    }

    /** Largest |x| of each channel. */
    float[] maxima() {
      return maxima;
    }
  }

  /** Inputs and outputs of a block in some samples, before anything was quantized. */
  record BlockRuns(CalibrationInputs inputs, CalibrationInputs outputs) {}

  private final Map<Module, Channels> channels = new IdentityHashMap<>();
  private final Map<Module, BlockRuns> runs = new IdentityHashMap<>();
  private boolean keeping;

  private FoldSamples() {}

  /** Runs all samples through the layer. */
  static FoldSamples collect(
      Module layer, List<Fold> folds, CalibrationInputs inputs, SmoothQuantConfig config) {
    FoldSamples samples = new FoldSamples();
    List<Module.Registration> hooks = new ArrayList<>();
    try {
      for (Fold fold : folds) {
        samples.watch(fold, inputs, hooks);
      }
      boolean[] chosen = chosen(inputs, config.searchTokens());
      new LayerForwardManager(inputs).observe(layer, sample -> samples.keeping = chosen[sample]);
    } catch (RuntimeException e) {
      samples.close();
      throw e;
    } finally {
      hooks.forEach(Module.Registration::close);
    }
    return samples;
  }

  private void watch(Fold fold, CalibrationInputs inputs, List<Module.Registration> hooks) {
    if (!channels.containsKey(fold.reader())) {
      Channels seen = new Channels();
      channels.put(fold.reader(), seen);
      hooks.add(fold.reader().before((module, input, args) -> seen.add(input)));
    }
    if (!runs.containsKey(fold.block())) {
      BlockRuns block =
          new BlockRuns(
              new CalibrationInputs(inputs.device()), new CalibrationInputs(inputs.device()));
      runs.put(fold.block(), block);
      hooks.add(
          fold.block()
              .after(
                  (module, input, args, output) -> {
                    if (keeping && input.dim(0) > 0) {
                      block.inputs().add(input, args);
                      block.outputs().add(output, args);
                    }
                  }));
    }
  }

  /** Samples spread evenly over all, with about so many tokens together. */
  static boolean[] chosen(CalibrationInputs inputs, long tokens) {
    int size = inputs.size();
    long perSample = Math.max(1, inputs.tokens() / Math.max(1, size));
    int count = Math.clamp(Math.ceilDiv(tokens, perSample), 1, size);
    boolean[] chosen = new boolean[size];
    for (int i = 0; i < count; i++) {
      chosen[(int) ((long) i * size / count)] = true;
    }
    return chosen;
  }

  /** Sizes of the channels that a module reads. */
  Channels channels(Module reader) {
    return channels.get(reader);
  }

  /** Runs of a block. */
  BlockRuns runs(Module block) {
    return runs.get(block);
  }

  @Override
  public void close() {
    for (BlockRuns block : runs.values()) {
      block.inputs().close();
      block.outputs().close();
    }
    runs.clear();
  }
}
