package fqt.nn;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Which tokens go to which expert. The pairs (token, expert) that the router chose are sorted by
 * expert, and by token within an expert: one slice of {@code tokens} and {@code weights} each.
 */
final class ExpertRoutes {
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final long[] bounds;
  private final Tensor tokens;
  private final Tensor weights;
  private final Tensor everyToken;

  private ExpertRoutes(long[] bounds, Tensor tokens, Tensor weights, Tensor everyToken) {
    this.bounds = bounds;
    this.tokens = tokens;
    this.weights = weights;
    this.everyToken = everyToken;
  }

  /** Routes by router logits [tokens, experts]. */
  static ExpertRoutes of(Tensor logits, long topK, boolean renormalize) {
    Ops.TopK chosen = Ops.topK(Ops.softmax(logits), topK);
    // As arrays: for the tens of thousands of pairs of a mixture, segments take milliseconds.
    int[] experts = ints(chosen.indices());
    float[] probabilities = Ops.to(chosen.values(), Device.CPU).segment().toArray(FLOAT);
    int rows = Math.toIntExact(logits.dim(0));
    int count = Math.toIntExact(topK);
    long[] bounds = bounds(experts, Math.toIntExact(logits.dim(1)));
    int[] tokens = new int[experts.length];
    float[] weights = new float[experts.length];
    int[] every = new int[rows];
    long[] next = bounds.clone();
    for (int row = 0; row < rows; row++) {
      every[row] = row;
      float sum = renormalize ? sum(probabilities, row * count, count) : 1;
      for (int i = row * count; i < (row + 1) * count; i++) {
        int at = (int) next[experts[i]]++;
        tokens[at] = row;
        weights[at] = probabilities[i] / sum;
      }
    }
    Device device = logits.device();
    return new ExpertRoutes(
        bounds,
        move(tokens, device),
        Ops.to(Ops.of(weights, weights.length), device),
        move(every, device));
  }

  private static Tensor move(int[] values, Device device) {
    return Ops.to(Ops.of(values, values.length), device);
  }

  private static int[] ints(Tensor x) {
    return Ops.to(x, Device.CPU).segment().toArray(INT);
  }

  private static long[] bounds(int[] experts, int count) {
    long[] bounds = new long[count + 1];
    for (int expert : experts) {
      bounds[expert + 1]++;
    }
    for (int e = 0; e < count; e++) {
      bounds[e + 1] += bounds[e];
    }
    return bounds;
  }

  private static float sum(float[] values, int from, int count) {
    float sum = 0;
    for (int i = from; i < from + count; i++) {
      sum += values[i];
    }
    return sum;
  }

  /** Tokens of one expert, I32, rising. */
  Tensor tokens(int expert) {
    return tokens.slice(0, bounds[expert], bounds[expert + 1]);
  }

  /** Weights of those tokens, F32. */
  Tensor weights(int expert) {
    return weights.slice(0, bounds[expert], bounds[expert + 1]);
  }

  /** Where the slice of each expert begins, and where the last one ends. */
  long[] bounds() {
    return bounds;
  }

  /** Tokens of some experts, from the first to before the last, one slice behind the other. */
  Tensor tokens(int first, int last) {
    return tokens.slice(0, bounds[first], bounds[last]);
  }

  /** Weights of those tokens. */
  Tensor weights(int first, int last) {
    return weights.slice(0, bounds[first], bounds[last]);
  }

  /** 0, 1, 2 … for all tokens. */
  Tensor everyToken() {
    return everyToken;
  }
}
