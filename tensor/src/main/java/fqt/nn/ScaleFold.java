package fqt.nn;

import java.util.List;

/**
 * A freedom of a block: the producer's output channels may be divided by any positive factors and
 * the matching input columns of all its consumers multiplied by them, and the block computes the
 * same. It is the mathematical fact behind AWQ and SmoothQuant, declared by the block that knows
 * it.
 *
 * <p>The producer is a norm (its weight and bias are divided) or a linear (rows of its weight and
 * its bias are divided). With {@code producerOffset} a fold concerns only some of the producer's
 * channels: the value third of a fused query-key-value linear. With {@code repeat > 1} each
 * producer channel group of {@code headDim} channels feeds {@code repeat} consecutive groups of
 * consumer columns, as the value heads of grouped-query attention do; the factors are then one a
 * producer channel.
 *
 * @param producer the module whose output channels are divided
 * @param producerOffset first of its channels that takes part
 * @param channels how many of its channels take part: the number of free factors
 * @param repeat consumer groups that each producer group feeds
 * @param headDim channels of a group; equal to {@code channels} where nothing repeats
 * @param consumers every module that reads those channels; each has {@code channels * repeat} input
 *     columns
 */
public record ScaleFold(
    Module producer,
    long producerOffset,
    long channels,
    long repeat,
    long headDim,
    List<Module> consumers) {
  /** Copies the list of consumers. */
  public ScaleFold {
    consumers = List.copyOf(consumers);
  }

  /** The plain case: each of the producer's channels feeds one column of each consumer. */
  public static ScaleFold of(Module producer, long channels, List<Module> consumers) {
    return new ScaleFold(producer, 0, channels, 1, channels, consumers);
  }
}
