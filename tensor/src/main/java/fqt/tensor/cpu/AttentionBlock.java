package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;
import static fqt.tensor.cpu.PackedKeys.KEYS;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * A few rows (queries of heads) of attention on their way over the keys. Of each row it holds the
 * scaled query, the scores of one block of keys, the largest score so far, the sum of the weights
 * and the weighted sum of the values; the last two are rescaled whenever the largest score grows.
 */
final class AttentionBlock {
  private final MemorySegment scratch;
  private final int rows;
  private final int depth;
  private final int padded;
  private final Tensor k;
  private final Tensor v;
  private final MemorySegment keys;
  private final MemorySegment values;
  private final long scores;
  private final long means;
  private final double[] sums;
  private final float[] weights = new float[KEYS];
  private final float[] largest;
  private final long[] from;
  private final long[] to;

  AttentionBlock(MemorySegment scratch, int rows, int depth, Tensor k, Tensor v) {
    this.scratch = scratch;
    this.rows = rows;
    this.depth = depth;
    this.padded = PackedKeys.padded(depth);
    this.k = k;
    this.v = v;
    this.keys = k.storage().segment();
    this.values = v.storage().segment();
    long high = roundUp(rows);
    this.scores = high * padded * Float.BYTES;
    this.means = scores + high * KEYS * Float.BYTES;
    this.sums = new double[rows];
    this.largest = new float[rows];
    this.from = new long[rows];
    this.to = new long[rows];
    scratch.asSlice(0, scratchBytes(rows, depth)).fill((byte) 0);
    Arrays.fill(largest, Float.NEGATIVE_INFINITY);
  }

  /** Bytes of scratch memory: queries, scores and means. */
  static long scratchBytes(int rows, int depth) {
    return (long) roundUp(rows) * (2L * PackedKeys.padded(depth) + KEYS) * Float.BYTES;
  }

  private static int roundUp(int rows) {
    return Math.ceilDiv(rows, TileLoops.ROWS) * TileLoops.ROWS;
  }

  /** Sets the query of a row, times the factor of its scores. */
  void query(int row, Tensor q, long query, long head, float scale) {
    long start = (q.offset() + query * q.stride(0) + head * q.stride(1)) * Float.BYTES;
    MemorySegment source = q.storage().segment();
    long target = (long) row * padded * Float.BYTES;
    for (int d = 0; d < depth; d += LENGTH) {
      long at = (long) d * Float.BYTES;
      VectorMask<Float> mask = Lanes.first(depth - d);
      store(load(source, start + at, mask).mul(scale), scratch, target + at);
    }
  }

  /** Sets which keys of the sequence a row sees. */
  void visible(int row, long first, long end) {
    from[row] = first;
    to[row] = end;
  }

  /** Takes in a packed block, whose first key has the place {@code place} in its sequence. */
  void addPacked(PackedKeys packed, long index, long place) {
    scratch.asSlice(scores, (long) roundUp(rows) * KEYS * Float.BYTES).fill((byte) 0);
    MemorySegment blocks = packed.segment();
    long width = (long) padded * Float.BYTES;
    long keyWidth = (long) KEYS * Float.BYTES;
    for (int r = 0; r < rows; r += TileLoops.ROWS) {
      TileLoops.multiply(
          scratch,
          r * width,
          width,
          blocks,
          packed.keys(index),
          KEYS,
          depth,
          scratch,
          scores + r * keyWidth);
    }
    weigh(place, KEYS);
    for (int r = 0; r < rows; r += TileLoops.ROWS) {
      TileLoops.multiply(
          scratch,
          scores + r * keyWidth,
          keyWidth,
          blocks,
          packed.values(index),
          padded,
          KEYS,
          scratch,
          means + r * width);
    }
  }

  /** Takes in {@code count} keys where they lie; {@code key} counts over all sequences. */
  void addKeys(long key, long group, long place, int count) {
    long keyStep = k.stride(0) * Float.BYTES;
    long valueStep = v.stride(0) * Float.BYTES;
    long firstKey = (k.offset() + key * k.stride(0) + group * k.stride(1)) * Float.BYTES;
    long firstValue = (v.offset() + key * v.stride(0) + group * v.stride(1)) * Float.BYTES;
    float[] lanes = new float[KEYS * LENGTH];
    for (int r = 0; r < rows; r++) {
      long width = (long) padded * Float.BYTES;
      TileLoops.dots(scratch, r * width, keys, firstKey, keyStep, depth, count, lanes);
      long row = scores + (long) r * KEYS * Float.BYTES;
      for (int j = 0; j < KEYS; j++) {
        scratch.set(Element.FLOAT, row + (long) j * Float.BYTES, sum(lanes, j * LENGTH));
      }
    }
    weigh(place, count);
    for (int r = 0; r < rows; r++) {
      long row = scores + (long) r * KEYS * Float.BYTES;
      long mean = means + (long) r * padded * Float.BYTES;
      TileLoops.addWeighted(scratch, row, values, firstValue, valueStep, depth, count, mean);
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
      long row = scores + (long) r * KEYS * Float.BYTES;
      if (first < end) {
        hide(row, 0, first);
        hide(row, end, KEYS);
        weighRow(r, row);
      } else {
        scratch.asSlice(row, (long) KEYS * Float.BYTES).fill((byte) 0);
      }
    }
  }

  private void hide(long row, int first, int end) {
    for (int j = first; j < end; j++) {
      scratch.set(Element.FLOAT, row + (long) j * Float.BYTES, Float.NEGATIVE_INFINITY);
    }
  }

  private void weighRow(int r, long row) {
    float before = largest[r];
    float after = Math.max(before, RowLoops.max(scratch, row, KEYS));
    largest[r] = after;
    if (after == Float.NEGATIVE_INFINITY) {
      scratch.asSlice(row, (long) KEYS * Float.BYTES).fill((byte) 0);
      return;
    }
    if (after > before) {
      float shrink = (float) StrictMath.exp((double) before - after);
      RowLoops.scale(scratch, means + (long) r * padded * Float.BYTES, shrink, padded);
      sums[r] *= shrink;
    }
    sums[r] += RowLoops.exp(scratch, row, after, scratch, KEYS, weights);
  }

  /** Writes the mean of the values of a row as head {@code head}, counted over all tokens. */
  void mean(int row, Tensor out, long head) {
    float factor = sums[row] == 0 ? 0 : (float) (1 / sums[row]);
    MemorySegment target = out.segment();
    for (int d = 0; d < depth; d += LENGTH) {
      long at = (long) d * Float.BYTES;
      FloatVector mean = load(scratch, means + (long) row * padded * Float.BYTES + at);
      store(mean.mul(factor), target, head * depth * Float.BYTES + at, Lanes.first(depth - d));
    }
  }
}
