package fqt.nn;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
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
    MemorySegment experts = Ops.to(chosen.indices(), Device.CPU).segment();
    MemorySegment probabilities = Ops.to(chosen.values(), Device.CPU).segment();
    long rows = logits.dim(0);
    long[] bounds = bounds(experts, rows * topK, Math.toIntExact(logits.dim(1)));
    Tensor tokens = Ops.empty(Device.CPU, DType.I32, rows * topK);
    Tensor weights = Ops.empty(Device.CPU, DType.F32, rows * topK);
    Tensor every = Ops.empty(Device.CPU, DType.I32, rows);
    MemorySegment tokenAt = tokens.segment();
    MemorySegment weightAt = weights.segment();
    MemorySegment everyAt = every.segment();
    long[] next = bounds.clone();
    for (long row = 0; row < rows; row++) {
      everyAt.setAtIndex(INT, row, Math.toIntExact(row));
      float sum = renormalize ? sum(probabilities, row * topK, topK) : 1;
      for (long i = row * topK; i < (row + 1) * topK; i++) {
        long at = next[experts.getAtIndex(INT, i)]++;
        tokenAt.setAtIndex(INT, at, Math.toIntExact(row));
        weightAt.setAtIndex(FLOAT, at, probabilities.getAtIndex(FLOAT, i) / sum);
      }
    }
    Device device = logits.device();
    return new ExpertRoutes(
        bounds, Ops.to(tokens, device), Ops.to(weights, device), Ops.to(every, device));
  }

  private static long[] bounds(MemorySegment experts, long pairs, int count) {
    long[] bounds = new long[count + 1];
    for (long i = 0; i < pairs; i++) {
      bounds[experts.getAtIndex(INT, i) + 1]++;
    }
    for (int e = 0; e < count; e++) {
      bounds[e + 1] += bounds[e];
    }
    return bounds;
  }

  private static float sum(MemorySegment values, long from, long count) {
    float sum = 0;
    for (long i = from; i < from + count; i++) {
      sum += values.getAtIndex(FLOAT, i);
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
