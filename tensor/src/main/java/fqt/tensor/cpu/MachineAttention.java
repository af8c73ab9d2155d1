package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.TileKernel;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Attention rows whose products are machine code. Everything lies off the heap; queries and scores
 * are {@link Gemm#A_STRIDE} apart, as the kernel wants its left side. The sum of a row's weights is
 * kept in the lanes of one vector until the end.
 */
final class MachineAttention implements AttentionRows {
  private static final long STRIDE = (long) Gemm.A_STRIDE * Float.BYTES;

  private final TileKernel kernel;
  private final HostMemory memory;
  private final HostMemory.Block block;
  private final int rows;
  private final int tiles;
  private final int depth;
  private final float scale;
  private final MemorySegment queries;
  private final MemorySegment scores;
  private final MemorySegment means;
  private final MemorySegment sums;
  private final long meanStride;
  private final float[] largest;
  private final long[] from;
  private final long[] to;
  private boolean begun;

  /** Whether the kernel's rows are long enough. */
  static boolean fits(int depth) {
    return depth <= Gemm.A_STRIDE && PackedKeys.KEYS <= Gemm.A_STRIDE;
  }

  MachineAttention(TileKernel kernel, HostMemory memory, int rows, int depth, float scale) {
    this.kernel = kernel;
    this.memory = memory;
    this.rows = rows;
    this.tiles = Math.ceilDiv(rows, kernel.rows());
    this.depth = depth;
    this.scale = scale;
    int high = tiles * kernel.rows();
    meanStride = (long) PackedKeys.padded(depth) * Float.BYTES;
    long vector = F.vectorByteSize();
    block = memory.take(high * (2 * STRIDE + meanStride) + rows * vector);
    MemorySegment all = block.memory();
    queries = all.asSlice(0, high * STRIDE);
    scores = all.asSlice(high * STRIDE, high * STRIDE);
    means = all.asSlice(2L * high * STRIDE, high * meanStride);
    sums = all.asSlice(high * (2 * STRIDE + meanStride), rows * vector).fill((byte) 0);
    queries.asSlice(rows * STRIDE).fill((byte) 0);
    largest = new float[rows];
    from = new long[rows];
    to = new long[rows];
    Arrays.fill(largest, Float.NEGATIVE_INFINITY);
  }

  @Override
  public void query(int row, Tensor q, long query, long head) {
    long start = (q.offset() + query * q.stride(0) + head * q.stride(1)) * Float.BYTES;
    long bytes = (long) depth * Float.BYTES;
    MemorySegment.copy(q.storage().segment(), start, queries, row * STRIDE, bytes);
  }

  @Override
  public void visible(int row, long first, long end) {
    from[row] = first;
    to[row] = end;
  }

  @Override
  public void addPacked(PackedKeys keys, long index, long place, int count) {
    int step = kernel.columns();
    int width = Gemm.roundUp(count, step);
    for (int j = 0; j < width; j += step) {
      MemorySegment to = scores.asSlice((long) j * Float.BYTES);
      kernel.multiply(depth, tiles, queries, keys.keys(index, j), to, STRIDE, scale, false);
    }
    for (int r = 0; r < rows; r++) {
      int first = Math.clamp(from[r] - place, 0, width);
      int end = Math.clamp(to[r] - place, 0, count);
      weigh(r, first, end, width);
    }
    for (int d = 0; d < depth; d += step) {
      MemorySegment to = means.asSlice((long) d * Float.BYTES);
      kernel.multiply(count, tiles, scores, keys.values(index, d), to, meanStride, 1, begun);
    }
    begun = true;
  }

  /**
   * Turns the scores of a row into weights: those outside of {@code first} to {@code end} are 0.
   */
  private void weigh(int row, int first, int end, int width) {
    long at = row * STRIDE;
    int low = first < end ? first & -LENGTH : width;
    int high = Gemm.roundUp(Math.max(low, end), LENGTH);
    fill(at, 0, low, 0);
    fill(at, high, width, 0);
    if (low == high) {
      return;
    }
    hide(at, low, first);
    hide(at, end, high);
    float before = largest[row];
    float after = Math.max(before, max(at, low, high));
    if (after == Float.NEGATIVE_INFINITY) {
      fill(at, low, high, 0);
      return;
    }
    largest[row] = after;
    if (after > before) {
      rescale(row, before - after);
    }
    exp(row, low, high, after);
  }

  /** Stores a value in whole vectors. */
  private void fill(long at, int from, int to, float value) {
    FloatVector values = FloatVector.broadcast(F, value);
    for (int i = from; i < to; i += LENGTH) {
      store(values, scores, at + (long) i * Float.BYTES);
    }
  }

  /** Hides the scores of part of a vector. */
  private void hide(long at, int from, int to) {
    for (int i = from; i < to; i++) {
      scores.set(Element.FLOAT, at + (long) i * Float.BYTES, Float.NEGATIVE_INFINITY);
    }
  }

  private float max(long at, int from, int to) {
    FloatVector most = load(scores, at + (long) from * Float.BYTES);
    for (int i = from + LENGTH; i < to; i += LENGTH) {
      most = most.max(load(scores, at + (long) i * Float.BYTES));
    }
    return most.reduceLanes(VectorOperators.MAX);
  }

  /** Overwrites scores by weights and adds them to the row's sum. */
  private void exp(int row, int from, int to, float shift) {
    long at = row * STRIDE;
    long total = (long) row * F.vectorByteSize();
    FloatVector sum = load(sums, total);
    for (int i = from; i < to; i += LENGTH) {
      long place = at + (long) i * Float.BYTES;
      FloatVector weight = VectorMath.weight(load(scores, place).sub(shift));
      store(weight, scores, place);
      sum = sum.add(weight);
    }
    store(sum, sums, total);
  }

  /** Multiplies what a row has summed up by {@code e^growth}. */
  private void rescale(int row, float growth) {
    FloatVector factor = VectorMath.weight(FloatVector.broadcast(F, growth));
    long total = (long) row * F.vectorByteSize();
    store(load(sums, total).mul(factor), sums, total);
    if (begun) {
      long at = row * meanStride;
      for (int d = 0; d < depth; d += LENGTH) {
        long place = at + (long) d * Float.BYTES;
        store(load(means, place).mul(factor), means, place);
      }
    }
  }

  @Override
  public void mean(int row, Tensor out, long head) {
    MemorySegment target = out.segment();
    double sum = Lanes.sum(load(sums, (long) row * F.vectorByteSize()));
    float factor = sum == 0 ? 0 : (float) (1 / sum);
    long at = row * meanStride;
    long start = head * depth * Float.BYTES;
    int d = 0;
    for (; d <= depth - LENGTH; d += LENGTH) {
      long offset = (long) d * Float.BYTES;
      store(load(means, at + offset).mul(factor), target, start + offset);
    }
    for (; d < depth; d++) {
      long offset = (long) d * Float.BYTES;
      target.set(Element.FLOAT, start + offset, means.get(Element.FLOAT, at + offset) * factor);
    }
  }

  @Override
  public void close() {
    memory.give(block);
  }
}
