package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.PackedKeys.KEYS;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A few rows (queries of heads) of attention on their way over the keys. Of each row it holds the
 * scaled query, the scores of one block of keys, the largest score so far, the sum of the weights
 * and the weighted sum of the values; the last two are rescaled whenever the largest score grows.
 */
final class AttentionBlock {
  private final int rows;
  private final int depth;
  private final int padded;
  private final float[] queries;
  private final float[] scores;
  private final float[] means;
  private final float[] largest;
  private final double[] sums;
  private final long[] from;
  private final long[] to;

  AttentionBlock(int rows, int depth) {
    int high = Math.ceilDiv(rows, TileLoops.ROWS) * TileLoops.ROWS;
    this.rows = rows;
    this.depth = depth;
    this.padded = PackedKeys.padded(depth);
    this.queries = new float[high * padded];
    this.scores = new float[high * KEYS];
    this.means = new float[high * padded];
    this.largest = new float[rows];
    this.sums = new double[rows];
    this.from = new long[rows];
    this.to = new long[rows];
    Arrays.fill(largest, Float.NEGATIVE_INFINITY);
  }

  /** Sets the query of a row, times the factor of its scores. */
  void query(int row, Tensor q, long query, long head, float scale) {
    long start = (q.offset() + query * q.stride(0) + head * q.stride(1)) * Float.BYTES;
    int at = row * padded;
    MemorySegment.copy(q.storage().segment(), Element.FLOAT, start, queries, at, depth);
    TileLoops.scale(queries, at, scale, padded);
  }

  /** Sets which keys of the sequence a row sees. */
  void visible(int row, long first, long end) {
    from[row] = first;
    to[row] = end;
  }

  /**
   * Takes in a packed block, whose first key has the place {@code place} in its sequence.
   *
   * @param keys [D, KEYS]
   * @param values [KEYS, padded D]
   */
  void addPacked(float[] keys, float[] values, long place) {
    Arrays.fill(scores, 0);
    for (int r = 0; r < rows; r += TileLoops.ROWS) {
      TileLoops.multiply(queries, r * padded, padded, keys, KEYS, depth, scores, r * KEYS);
    }
    weigh(place, KEYS);
    for (int r = 0; r < rows; r += TileLoops.ROWS) {
      TileLoops.multiply(scores, r * KEYS, KEYS, values, padded, KEYS, means, r * padded);
    }
  }

  /** Takes in {@code count} keys where they lie; {@code key} counts over all sequences. */
  void addKeys(Tensor k, Tensor v, long key, long group, long place, int count) {
    MemorySegment keys = k.storage().segment();
    MemorySegment values = v.storage().segment();
    long keyStep = k.stride(0) * Float.BYTES;
    long valueStep = v.stride(0) * Float.BYTES;
    long firstKey = (k.offset() + key * k.stride(0) + group * k.stride(1)) * Float.BYTES;
    long firstValue = (v.offset() + key * v.stride(0) + group * v.stride(1)) * Float.BYTES;
    float[] lanes = new float[KEYS * LENGTH];
    for (int r = 0; r < rows; r++) {
      TileLoops.dots(queries, r * padded, keys, firstKey, keyStep, depth, count, lanes);
      for (int j = 0; j < KEYS; j++) {
        scores[r * KEYS + j] = sum(lanes, j * LENGTH);
      }
    }
    weigh(place, count);
    for (int r = 0; r < rows; r++) {
      TileLoops.addWeighted(
          scores, r * KEYS, values, firstValue, valueStep, depth, count, means, r * padded);
    }
  }

  /** The sum of a vector's lanes in four chains, always the same. */
  private static float sum(float[] lanes, int start) {
    float a = 0;
    float b = 0;
    float c = 0;
    float d = 0;
    for (int i = start; i < start + LENGTH; i += 4) {
      a += lanes[i];
      b += lanes[i + 1];
      c += lanes[i + 2];
      d += lanes[i + 3];
    }
    return a + b + (c + d);
  }

  /** Turns the scores of a block into weights. */
  private void weigh(long place, int count) {
    for (int r = 0; r < rows; r++) {
      int first = (int) Math.clamp(from[r] - place, 0, KEYS);
      int end = (int) Math.clamp(to[r] - place, 0, count);
      int row = r * KEYS;
      if (first < end) {
        Arrays.fill(scores, row, row + first, Float.NEGATIVE_INFINITY);
        Arrays.fill(scores, row + end, row + KEYS, Float.NEGATIVE_INFINITY);
        weighRow(r, row);
      } else {
        Arrays.fill(scores, row, row + KEYS, 0);
      }
    }
  }

  private void weighRow(int r, int row) {
    float before = largest[r];
    float after = Math.max(before, TileLoops.max(scores, row, KEYS));
    largest[r] = after;
    if (after == Float.NEGATIVE_INFINITY) {
      Arrays.fill(scores, row, row + KEYS, 0);
      return;
    }
    if (after > before) {
      float shrink = (float) StrictMath.exp((double) before - after);
      TileLoops.scale(means, r * padded, shrink, padded);
      sums[r] *= shrink;
    }
    TileLoops.exp(scores, row, after, KEYS);
    sums[r] += TileLoops.sum(scores, row, KEYS);
  }

  /** Writes the mean of the values of a row as head {@code head}, counted over all tokens. */
  void mean(int row, Tensor out, long head) {
    float factor = sums[row] == 0 ? 0 : (float) (1 / sums[row]);
    TileLoops.scale(means, row * padded, factor, padded);
    long target = head * depth * Float.BYTES;
    MemorySegment.copy(means, row * padded, out.segment(), Element.FLOAT, target, depth);
  }
}
