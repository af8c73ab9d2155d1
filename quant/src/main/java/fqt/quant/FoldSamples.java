package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.tensor.Axis;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * What the smoothing search knows of a layer's activations, taken in one run of all calibration
 * samples: the size of every channel that a fold could scale, and, for some samples, what went into
 * and came out of the blocks that candidates are judged by. Every expert of a mixture sees every
 * token.
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
  record BlockRuns(CalibrationInputs inputs, CalibrationInputs outputs) {
    private void add(Tensor input, LayerArgs args, Tensor output, int stride) {
      try (Scope scope = Scope.open()) {
        inputs.add(everySoMany(input, stride), args);
        outputs.add(everySoMany(output, stride), args);
      }
    }

    private static Tensor everySoMany(Tensor x, int stride) {
      if (stride == 1) {
        return x;
      }
      int[] rows = new int[Math.toIntExact(Math.ceilDiv(x.dim(0), (long) stride))];
      Arrays.setAll(rows, i -> i * stride);
      return Ops.gatherRows(x, Host.index(x.device(), rows));
    }
  }

  private static final int EXPERTS_IN_FULL = 8;

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
      Map<String, Integer> alike = new HashMap<>();
      folds.forEach(fold -> alike.merge(kind(fold), 1, Integer::sum));
      for (Fold fold : folds) {
        samples.watch(fold, stride(alike.get(kind(fold))), inputs, hooks);
      }
      hooks.add(SparseMoe.showAllTokens(layer));
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

  private static String kind(Fold fold) {
    return InputWatch.kind(fold.producer());
  }

  /** Of many experts, each of which sees every token, only every so many-th token is kept. */
  private static int stride(int alike) {
    return Math.max(1, alike / EXPERTS_IN_FULL);
  }

  /**
   * Bytes that are kept of a layer at most.
   *
   * @param tokens of the samples that candidates are judged on
   */
  static long byteSize(List<Fold> folds, long tokens) {
    Map<String, Integer> alike = new HashMap<>();
    folds.forEach(fold -> alike.merge(kind(fold), 1, Integer::sum));
    Map<Module, Long> bytes = new IdentityHashMap<>();
    for (Fold fold : folds) {
      long kept = Math.ceilDiv(tokens, (long) stride(alike.get(kind(fold))));
      bytes.put(fold.block(), fold.blockFeatures() * kept * Float.BYTES);
    }
    return bytes.values().stream().mapToLong(Long::longValue).sum();
  }

  private void watch(
      Fold fold, int stride, CalibrationInputs inputs, List<Module.Registration> hooks) {
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
                      block.add(input, args, output, module instanceof Linear ? stride : 1);
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
