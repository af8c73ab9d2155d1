package fqt.nn;

import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;

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

  /**
   * {@return the plain case: each of the producer's channels feeds one column of each consumer}
   *
   * @param producer a norm or linear, all of whose output channels take part
   * @param channels how many channels that is
   * @param consumers every module that reads them, one input column a channel
   */
  public static ScaleFold of(Module producer, long channels, List<Module> consumers) {
    return new ScaleFold(producer, 0, channels, 1, channels, consumers);
  }

  /** {@return for each input column of a consumer, the channel that feeds it} */
  public int[] channelOfColumn() {
    int head = Math.toIntExact(headDim);
    int times = Math.toIntExact(repeat);
    int[] channel = new int[Math.toIntExact(channels) * times];
    Arrays.setAll(channel, i -> i / head / times * head + i % head);
    return channel;
  }

  /**
   * For each input column of a consumer, gives the factor of the channel that feeds it.
   *
   * @param factors one for each of {@link #channels}
   * @return [channels · repeat]
   */
  public float[] columns(float[] factors) {
    int[] channel = channelOfColumn();
    float[] columns = new float[channel.length];
    for (int i = 0; i < columns.length; i++) {
      columns[i] = factors[channel[i]];
    }
    return columns;
  }

  /**
   * {@return whether {@link #apply} can: the producer is a norm or linear, the consumers are
   * linears}
   */
  public boolean isApplicable() {
    return canSet(producer) && consumers.stream().allMatch(Linear.class::isInstance);
  }

  /**
   * {@return whether {@link #setParameters} can}
   *
   * @param module what would be rescaled
   */
  public static boolean canSet(Module module) {
    return module instanceof RmsNorm || module instanceof LayerNorm || module instanceof Linear;
  }

  /**
   * Divides the producer's channels by factors and multiplies the consumers' columns by them. A
   * producer that keeps its type is rounded to it; the consumers of a norm are multiplied by what
   * it was really divided by. New tensors belong to the current scope.
   *
   * @param factors one for each channel, positive
   * @param widened which linears get their new weight in F32 instead of their own type
   * @throws IllegalStateException if the producer is no norm or linear, or a consumer no linear
   */
  public void apply(float[] factors, Predicate<Module> widened) {
    Tensor weight = producer.parameters().get("weight");
    Tensor bias = producer.parameters().get("bias");
    float[] all = new float[Math.toIntExact(weight.dim(0))];
    Arrays.fill(all, 1);
    System.arraycopy(factors, 0, all, Math.toIntExact(producerOffset), factors.length);
    DType type = widened.test(producer) ? DType.F32 : weight.dtype();
    Tensor divided = divided(weight, all, type);
    float[] real = weight.rank() == 1 ? quotients(weight, divided, all) : all;
    setParameters(producer, divided, bias == null ? null : divided(bias, real, bias.dtype()));
    int offset = Math.toIntExact(producerOffset);
    float[] columns = columns(Arrays.copyOfRange(real, offset, offset + factors.length));
    for (Module consumer : consumers) {
      Tensor old = consumer.parameters().get("weight");
      DType kept = widened.test(consumer) ? DType.F32 : old.dtype();
      try (Scope scope = Scope.open()) {
        Tensor factor = Host.tensor(old.device(), columns, columns.length);
        Tensor scaled = Ops.to(Ops.multiply(wide(old), factor), kept);
        setParameters(consumer, scope.keep(scaled), null);
      }
    }
  }

  /**
   * Replaces weight and bias of a norm or linear; a null bias leaves that of a linear.
   *
   * @param module an {@link RmsNorm}, {@link LayerNorm} or {@link Linear}
   * @param weight the new weight, of the old one's shape
   * @param bias the new bias, of the old one's shape, or null
   * @throws IllegalStateException if the module is neither norm nor linear
   */
  public static void setParameters(Module module, Tensor weight, Tensor bias) {
    switch (module) {
      case RmsNorm norm -> norm.setWeight(weight);
      case LayerNorm norm -> norm.set(weight, bias);
      case Linear linear -> {
        linear.setWeight(weight);
        if (bias != null) {
          linear.setBias(bias);
        }
      }
      default -> throw new IllegalStateException("cannot rescale " + module);
    }
  }

  /** A vector, or the rows of a matrix, divided by something each. */
  private static Tensor divided(Tensor x, float[] divisors, DType type) {
    try (Scope scope = Scope.open()) {
      Tensor divisor = Host.tensor(x.device(), divisors, divisors.length);
      Tensor turned = Ops.copy(wide(x).reshape(divisors.length, -1).transpose(0, 1));
      Tensor quotient = Ops.copy(Ops.divide(turned, divisor).transpose(0, 1));
      return scope.keep(Ops.to(quotient.reshape(x.shape().toArray()), type));
    }
  }

  /** What each channel was divided by, rounding included. */
  private static float[] quotients(Tensor before, Tensor after, float[] factors) {
    float[] old = Host.floats(before);
    float[] rounded = Host.floats(after);
    float[] real = new float[old.length];
    for (int i = 0; i < real.length; i++) {
      float quotient = old[i] / rounded[i];
      real[i] = Float.isFinite(quotient) && quotient > 0 ? quotient : factors[i];
    }
    return real;
  }

  private static Tensor wide(Tensor x) {
    return Ops.to(Ops.contiguous(x), DType.F32);
  }
}
