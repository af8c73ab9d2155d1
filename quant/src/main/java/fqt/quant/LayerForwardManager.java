package fqt.quant;

import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.Enough;
import fqt.quant.flow.Replay;
import fqt.quant.report.QuantListener;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.IntConsumer;

/**
 * Runs layers over all calibration samples, one sample at a time, in their order. Each run frees
 * what it allocated.
 *
 * <p>{@link Gptq} runs a layer several times while it quantizes it. Parts of the layer that are
 * finished do not run again, until and with the {@link #advance} that follows: the layer must not
 * be changed in between. What they gave is kept in {@link #replayBytes} of memory at most.
 */
public final class LayerForwardManager {
  private static final long LEAST_REPLAY = 1L << 30;

  private final CalibrationInputs inputs;
  private final Crew.Member member;
  private final int samples;
  private final Replay replay;
  private Module replayed;
  private int running;

  /** Runs layers over these samples. */
  public LayerForwardManager(CalibrationInputs inputs) {
    this(inputs, Long.MAX_VALUE);
  }

  /**
   * Runs layers over these samples.
   *
   * @param replayLimit bytes of results to keep at most; 0 runs everything each time
   */
  public LayerForwardManager(CalibrationInputs inputs, long replayLimit) {
    this(inputs, replayLimit, Crew.alone(inputs.device()), inputs.size());
  }

  /**
   * Runs layers over a device's share of the samples.
   *
   * @param member the device
   * @param samples how many there are on all devices together
   */
  public LayerForwardManager(CalibrationInputs inputs, Crew.Member member, int samples) {
    this(inputs, Long.MAX_VALUE, member, samples);
  }

  private LayerForwardManager(
      CalibrationInputs inputs, long replayLimit, Crew.Member member, int samples) {
    // What has to travel takes longer than to compute it again.
    long most = inputs.store().isElsewhere() ? 0 : replayBytes(inputs.store().byteSize());
    long limit = Math.min(replayLimit, most);
    this.inputs = inputs;
    this.member = member;
    this.samples = samples;
    this.replay = new Replay(inputs.store(), limit);
  }

  /**
   * How many bytes of results are kept at most: as many as the hidden states have in F32, and at
   * least 1 GiB.
   */
  public static long replayBytes(long hiddenBytes) {
    return Math.max(LEAST_REPLAY, hiddenBytes);
  }

  /** The samples. */
  public CalibrationInputs inputs() {
    return inputs;
  }

  /** Whose samples these are. */
  Crew.Member member() {
    return member;
  }

  /** Tokens of the samples of all members, who ask together. */
  long allTokens() {
    long tokens = 0;
    for (long some : member.exchange(inputs.tokens())) {
      tokens += some;
    }
    return tokens;
  }

  /** The chunk of the sample that runs now. */
  int chunk() {
    int all = member.size() == 1 ? inputs.size() : samples;
    return Crew.chunk(member.from(all) + running, all);
  }

  /** What need not run again of the layer that ran last. */
  Replay replay() {
    return replay;
  }

  /** Takes a step at each layer, {@code layers.N}, and moves the samples through what it became. */
  void walk(
      List<? extends Module> layers, QuantListener listener, BiConsumer<String, Module> step) {
    for (int i = 0; i < layers.size(); i++) {
      step.accept("layers." + i, layers.get(i));
      advance(layers.get(i));
      listener.layerFinished(i, layers.get(i));
    }
  }

  /** Moves every sample from before the layer to after it. */
  public void advance(Module layer) {
    try (Module.Registration known = replay(layer)) {
      for (int i = 0; i < inputs.size(); i++) {
        replay.at(i);
        try (Scope scope = Scope.open()) {
          inputs.replace(i, layer.apply(inputs.hidden(i), inputs.args(i)));
        }
      }
    }
    replay.clear();
  }

  /** Puts what is known of a layer in place; forgets what was known of another. */
  private Module.Registration replay(Module layer) {
    if (layer != replayed) {
      replay.clear();
      replayed = layer;
    }
    return replay.install();
  }

  /**
   * Runs every sample through the layer for what hooks see; the samples stay where they are. A hook
   * that has seen enough of a sample throws {@code Enough}.
   *
   * @param starting is told the number of each sample before it runs
   */
  public void observe(Module layer, IntConsumer starting) {
    try (Module.Registration known = replay(layer)) {
      for (int i = 0; i < inputs.size(); i++) {
        replay.at(i);
        running = i;
        starting.accept(i);
        observe(layer, i);
      }
    }
  }

  /** Runs one sample through the layer for what hooks see. */
  public void observe(Module layer, int sample) {
    try (Scope scope = Scope.open()) {
      Tensor unused = layer.apply(inputs.hidden(sample), inputs.args(sample));
    } catch (Enough seen) {
      // The hook asked to skip the rest of the layer.
    }
  }
}
