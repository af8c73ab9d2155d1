package fqt.quant;

import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.Enough;
import fqt.quant.flow.Replay;
import fqt.quant.report.QuantListener;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.BitSet;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Runs layers over all calibration samples, one sample at a time, in their order. Each run frees
 * what it allocated.
 *
 * <p>{@link Gptq} runs a layer several times while it quantizes it. Parts of the layer that are
 * finished do not run again, until and with the {@link #advance} that follows: the layer must not
 * be changed in between. What they gave is kept in {@link #replayBytes} of memory at most.
 */
public final class LayerForwardManager {
  /** What is done to a layer while the samples stand before it. */
  @FunctionalInterface
  public interface Step {
    /**
     * Does it to the layer of this name.
     *
     * @param prefix full path of the layer
     * @param layer the layer itself
     * @param forward runs it over its calibration inputs
     */
    void take(String prefix, Module layer, LayerForwardManager forward);
  }

  private static final long LEAST_REPLAY = 1L << 30;

  private final CalibrationInputs inputs;
  private final Crew.Member member;
  private final int samples;
  private final Replay replay;
  private Module replayed;
  private int running;

  /**
   * Runs layers over these samples.
   *
   * @param inputs calibration inputs of the first layer, all of them on one device
   */
  public LayerForwardManager(CalibrationInputs inputs) {
    this(inputs, Crew.alone(inputs.device()), inputs.size());
  }

  /**
   * Runs layers over a device's share of the samples.
   *
   * @param inputs that device's share of them
   * @param member the device
   * @param samples how many there are on all devices together
   */
  public LayerForwardManager(CalibrationInputs inputs, Crew.Member member, int samples) {
    this(inputs, member, samples, replayBytes(inputs.store().byteSize()));
  }

  /** The same with a limit of the results that are kept, in bytes; 0 runs everything each time. */
  LayerForwardManager(CalibrationInputs inputs, Crew.Member member, int samples, long replay) {
    this.inputs = inputs;
    this.member = member;
    this.samples = samples;
    // What has to travel takes longer than to compute it again.
    this.replay = new Replay(inputs.store(), inputs.store().isElsewhere() ? 0 : replay);
  }

  /**
   * {@return how many bytes of results are kept at most} As many as the hidden states have in F32,
   * and at least 1 GiB.
   *
   * @param hiddenBytes bytes of the hidden states of all samples, counted as F32
   */
  public static long replayBytes(long hiddenBytes) {
    return Math.max(LEAST_REPLAY, hiddenBytes);
  }

  /** {@return the samples} */
  public CalibrationInputs inputs() {
    return inputs;
  }

  /** {@return the member of a crew whose samples these are} */
  public Crew.Member member() {
    return member;
  }

  /** The chunk of the sample that runs now. */
  int chunk() {
    return Crew.chunk(member.from(samples) + running, samples);
  }

  /**
   * Which of these samples belong to some that are spread evenly over those of all members, who ask
   * together, and have about so many tokens.
   */
  BitSet spread(long tokens) {
    long perSample = Math.max(1, member.sum(inputs.tokens()) / Math.max(1, samples));
    return member.spread(Math.clamp(Math.ceilDiv(tokens, perSample), 1, samples), samples);
  }

  /** What need not run again of the layer that ran last. */
  Replay replay() {
    return replay;
  }

  /** Takes a step at each layer, {@code layers.N}, and moves the samples through what it became. */
  void walk(List<? extends Module> layers, Step step, QuantListener listener) {
    for (int i = 0; i < layers.size(); i++) {
      step.take("layers." + i, layers.get(i), this);
      advance(layers.get(i));
      listener.layerFinished(i, layers.get(i));
    }
  }

  /**
   * Moves every sample from before the layer to after it.
   *
   * @param layer the layer; it runs over all samples
   */
  public void advance(Module layer) {
    each(layer, all(), sample -> inputs.replace(sample, run(layer, sample)));
    replay.clear();
  }

  /**
   * Runs every sample through the layer for what hooks see; the samples stay where they are. A hook
   * that has seen enough of a sample throws {@code Enough}.
   *
   * @param layer the layer that runs
   * @param starting is told the number of each sample before it runs
   */
  public void observe(Module layer, IntConsumer starting) {
    observe(layer, all(), starting);
  }

  /**
   * {@link #observe(Module, IntConsumer)} with some samples.
   *
   * @param layer the layer that runs
   * @param chosen numbers of the samples, from 0
   * @param starting is told the number of each sample before it runs
   */
  public void observe(Module layer, IntStream chosen, IntConsumer starting) {
    each(
        layer,
        chosen,
        sample -> {
          starting.accept(sample);
          try {
            Tensor unused = run(layer, sample);
          } catch (Enough seen) {
            // The hook asked to skip the rest of the layer.
          }
        });
  }

  private IntStream all() {
    return IntStream.range(0, inputs.size());
  }

  private Tensor run(Module layer, int sample) {
    return layer.apply(inputs.hidden(sample), inputs.args(sample));
  }

  /** Takes samples with what is known of a layer in place; forgets what was known of another. */
  private void each(Module layer, IntStream chosen, IntConsumer action) {
    if (layer != replayed) {
      replay.clear();
      replayed = layer;
    }
    try (Module.Registration known = replay.install()) {
      chosen.forEach(
          sample -> {
            running = sample;
            replay.at(sample);
            try (Scope scope = Scope.open()) {
              action.accept(sample);
            }
          });
    }
  }
}
