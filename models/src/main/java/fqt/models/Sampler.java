package fqt.models;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Random;

/** Picks the next token from logits. One is made for each text; it remembers what occurred. */
final class Sampler {
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final GenerationConfig config;
  private final Random random;
  private final float[] logits;
  private final long[] order;
  private final BitSet seen = new BitSet();

  Sampler(GenerationConfig config, long vocabulary) {
    this.config = config;
    this.random = new Random(config.seed());
    this.logits = new float[Math.toIntExact(vocabulary)];
    this.order = new long[logits.length];
  }

  /** Notes a token that the repetition penalty shall know of. */
  void saw(int token) {
    seen.set(token);
  }

  /** The next token for logits F32 [vocabulary] on the host; ties go to the lower id. */
  int next(Tensor row) {
    MemorySegment.copy(row.segment(), FLOAT, 0, logits, 0, logits.length);
    penalizeRepetition();
    int token = config.temperature() == 0 ? likeliest() : draw();
    saw(token);
    return token;
  }

  private void penalizeRepetition() {
    float penalty = (float) config.repetitionPenalty();
    if (penalty != 1) {
      seen.stream()
          .forEach(id -> logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty);
    }
  }

  private int likeliest() {
    int best = 0;
    for (int id = 1; id < logits.length; id++) {
      if (logits[id] > logits[best]) {
        best = id;
      }
    }
    return best;
  }

  /** Draws among the {@code topK} likeliest, of those among the ones that make up {@code topP}. */
  private int draw() {
    sort();
    int count = config.topK() == 0 ? logits.length : Math.min(config.topK(), logits.length);
    double largest = logits[ranked(0)];
    double total = 0;
    for (int rank = 0; rank < count; rank++) {
      total += weight(rank, largest);
    }
    double kept = 0;
    int candidates = 0;
    while (candidates < count && kept < config.topP() * total) {
      kept += weight(candidates++, largest);
    }
    double left = random.nextDouble() * kept;
    int rank = 0;
    while (rank < candidates - 1 && (left -= weight(rank, largest)) >= 0) {
      rank++;
    }
    return ranked(rank);
  }

  private double weight(int rank, double largest) {
    return Math.exp((logits[ranked(rank)] - largest) / config.temperature());
  }

  /**
   * Sorts by logit, then by falling id: a float's bits as a number that sorts alike, and the id.
   */
  private void sort() {
    for (int id = 0; id < logits.length; id++) {
      int bits = Float.floatToIntBits(logits[id]);
      int ordered = bits ^ ((bits >> 31) & Integer.MAX_VALUE);
      order[id] = ((long) ordered << 32) | Integer.toUnsignedLong(~id);
    }
    Arrays.sort(order);
  }

  private int ranked(int rank) {
    return ~(int) order[order.length - 1 - rank];
  }
}
