package fqt.nn;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * Makes the cosine and sine tables of rotary position embedding (Su et al. 2021). Each pair of
 * elements turns with a frequency of its own, by the token's position along an axis of its own:
 * texts have one axis, pictures rows and columns, and multimodal texts (Wang et al. 2024, Qwen2-VL)
 * time, rows and columns. Frequencies and angles are single precision, as in the models' reference.
 */
public final class Rotary {
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final float[] frequencies;
  private final int[] axes;
  private final float factor;

  /**
   * The tables for some tokens.
   *
   * @param cos F32 [tokens, pairs]
   * @param sin like cos
   */
  public record Tables(Tensor cos, Tensor sin) {}

  private Rotary(float[] frequencies, int[] axes, float factor) {
    this.frequencies = frequencies;
    this.axes = axes;
    this.factor = factor;
  }

  /**
   * {@return rotary embedding along one axis}
   *
   * @param dimensions elements of a head that turn; even
   * @param theta base of the frequencies
   * @param scaling how the frequencies are stretched for longer texts
   * @throws IllegalArgumentException if the dimensions are odd or below 2, or the base is not
   *     positive
   */
  public static Rotary of(int dimensions, double theta, RotaryScaling scaling) {
    if (dimensions < 2 || dimensions % 2 != 0 || !(theta > 0)) {
      throw new IllegalArgumentException(
          "rotary embedding of " + dimensions + " dimensions with base " + theta);
    }
    float[] frequencies = new float[dimensions / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) (1 / Math.pow(theta, 2.0 * i / dimensions));
    }
    float factor = 1;
    switch (scaling) {
      case RotaryScaling.None none -> {}
      case RotaryScaling.Linear linear -> divide(frequencies, linear.factor());
      case RotaryScaling.Yarn yarn -> {
        yarn(frequencies, theta, yarn);
        factor = (float) yarn.attentionFactor();
      }
      case RotaryScaling.Llama3 llama -> llama3(frequencies, llama);
    }
    return new Rotary(frequencies, new int[frequencies.length], factor);
  }

  /**
   * {@return the same frequencies, the first {@code sections[0]} along axis 0, the next {@code
   * sections[1]} along axis 1, and so on}
   *
   * @param sections pairs of elements along each axis
   * @throws IllegalArgumentException unless the sections sum up to the number of pairs
   */
  public Rotary withSections(int... sections) {
    if (Arrays.stream(sections).sum() != frequencies.length) {
      throw new IllegalArgumentException(
          "rotary sections %s for %d frequencies"
              .formatted(Arrays.toString(sections), frequencies.length));
    }
    int[] split = new int[frequencies.length];
    for (int axis = 0, at = 0; axis < sections.length; axis++) {
      Arrays.fill(split, at, at + sections[axis], axis);
      at += sections[axis];
    }
    return new Rotary(frequencies, split, factor);
  }

  /**
   * {@return all frequencies once for each of several axes} They are {@code axisCount} times as
   * many.
   *
   * @param axisCount how many axes a position has
   */
  public Rotary repeated(int axisCount) {
    float[] all = new float[frequencies.length * axisCount];
    int[] split = new int[all.length];
    for (int i = 0; i < all.length; i++) {
      all[i] = frequencies[i % frequencies.length];
      split[i] = i / frequencies.length;
    }
    return new Rotary(all, split, factor);
  }

  private static void divide(float[] frequencies, double factor) {
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) (frequencies[i] / factor);
    }
  }

  private static void yarn(float[] frequencies, double theta, RotaryScaling.Yarn yarn) {
    int dimensions = frequencies.length * 2;
    double low = rampEnd(yarn.betaFast(), dimensions, theta, yarn.originalLength());
    double high = rampEnd(yarn.betaSlow(), dimensions, theta, yarn.originalLength());
    if (yarn.truncate()) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, dimensions - 1);
    double width = low == high ? 0.001 : high - low;
    for (int i = 0; i < frequencies.length; i++) {
      double divided = Math.clamp((i - low) / width, 0.0, 1.0);
      frequencies[i] =
          (float) (frequencies[i] / yarn.factor() * divided + frequencies[i] * (1 - divided));
    }
  }

  /** The dimension whose frequency turns so many times over the original length. */
  private static double rampEnd(double rotations, int dimensions, double theta, double length) {
    return dimensions * Math.log(length / (rotations * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private static void llama3(float[] frequencies, RotaryScaling.Llama3 llama) {
    for (int i = 0; i < frequencies.length; i++) {
      double waves = llama.originalLength() * frequencies[i] / (2 * Math.PI);
      double keep =
          Math.clamp(
              (waves - llama.lowFactor()) / (llama.highFactor() - llama.lowFactor()), 0.0, 1.0);
      frequencies[i] =
          (float) ((1 - keep) * frequencies[i] / llama.factor() + keep * frequencies[i]);
    }
  }

  /** {@return how many pairs of elements turn} */
  public int pairs() {
    return frequencies.length;
  }

  /**
   * {@return the frequency of one pair, in radians a position}
   *
   * @param pair which of them, from 0 to {@link #pairs} − 1
   */
  public float frequency(int pair) {
    return frequencies[pair];
  }

  /** {@return what both tables are multiplied by; 1 except for YaRN} */
  public float attentionFactor() {
    return factor;
  }

  /**
   * {@return the tables for tokens at given positions}
   *
   * @param device where the tables are put
   * @param positions for each axis the position of each token
   * @throws IllegalArgumentException if there are fewer axes than the frequencies need
   */
  public Tables tables(Device device, long[]... positions) {
    int needed = Arrays.stream(axes).max().orElseThrow() + 1;
    if (positions.length < needed) {
      throw new IllegalArgumentException(
          "positions along %d axes; the rotary embedding needs %d"
              .formatted(positions.length, needed));
    }
    try (Scope scope = Scope.open()) {
      long tokens = positions[0].length;
      Tensor cos = Ops.empty(Device.CPU, DType.F32, tokens, pairs());
      Tensor sin = Ops.empty(Device.CPU, DType.F32, tokens, pairs());
      MemorySegment cosAt = cos.segment();
      MemorySegment sinAt = sin.segment();
      for (int token = 0; token < tokens; token++) {
        for (int i = 0; i < pairs(); i++) {
          float angle = positions[axes[i]][token] * frequencies[i];
          long at = (long) token * pairs() + i;
          cosAt.setAtIndex(FLOAT, at, (float) Math.cos(angle) * factor);
          sinAt.setAtIndex(FLOAT, at, (float) Math.sin(angle) * factor);
        }
      }
      return new Tables(scope.keep(Ops.to(cos, device)), scope.keep(Ops.to(sin, device)));
    }
  }
}
