package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.PackedKeys.KEYS;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Attention rows on the Vector API, in arrays. They take in packed keys, or, with {@link #addKeys},
 * keys that are read where they lie.
 */
final class AttentionBlock implements AttentionRows {
  private final int rows;
  private final int depth;
  private final int padded;
  private final float scale;
  private final float[] queries;
  private final float[] scores;
  private final float[] means;
  private final float[] largest;
  private final double[] sums;
  private final long[] from;
  private final long[] to;

  private float[] blockKeys;
  private float[] blockValues;

  AttentionBlock(int rows, int depth, float scale) {
    int high = Math.ceilDiv(rows, TileLoops.ROWS) * TileLoops.ROWS;
    this.rows = rows;
    this.depth = depth;
    this.scale = scale;
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

  @Override
  public void query(int row, MemorySegment q, long start) {
    int at = row * padded;
    MemorySegment.copy(q, Element.FLOAT, start, queries, at, depth);
    TileLoops.scale(queries, at, scale, padded);
  }

  @Override
  public void visible(int row, long first, long end) {
    from[row] = first;
    to[row] = end;
  }

  @Override
  public void addPacked(PackedKeys packed, long index, long place, int count) {
    if (blockKeys == null) {
      blockKeys = new float[depth * KEYS];
      blockValues = new float[KEYS * padded];
    }
    packed.read(index, blockKeys, blockValues);
    Arrays.fill(scores, 0);
    for (int r = 0; r < rows; r += TileLoops.ROWS) {
      TileLoops.multiply(queries, r * padded, padded, blockKeys, KEYS, depth, scores, r * KEYS);
    }
    weigh(place, count);
    for (int r = 0; r < rows; r += TileLoops.ROWS) {
      TileLoops.multiply(scores, r * KEYS, KEYS, blockValues, padded, KEYS, means, r * padded);
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
      for (int j = 0; j < count; j++) {
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
      int first = Math.clamp(from[r] - place, 0, KEYS);
      int end = Math.clamp(to[r] - place, 0, count);
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
    TileLoops.weigh(scores, row, after, KEYS);
    sums[r] += TileLoops.sum(scores, row, KEYS);
  }

  @Override
  public void mean(int row, MemorySegment out, long head) {
    float factor = sums[row] == 0 ? 0 : (float) (1 / sums[row]);
    TileLoops.scale(means, row * padded, factor, padded);
    long target = head * depth * Float.BYTES;
    MemorySegment.copy(means, row * padded, out, Element.FLOAT, target, depth);
  }

  @Override
  public void close() {
    // Arrays need no closing.
  }
}
