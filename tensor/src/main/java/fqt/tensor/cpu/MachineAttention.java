package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.cpu.asm.ScoreKernel;
import fqt.tensor.cpu.asm.TileKernel;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;

/**
 * Attention rows whose products are machine code. Everything lies off the heap; queries and scores
 * are {@link Gemm#A_STRIDE} apart, as the kernel wants its left side. The sum of a row's weights is
 * kept in the lanes of one vector until the end.
 */
final class MachineAttention implements AttentionRows {
  private static final long STRIDE = (long) Gemm.A_STRIDE * Float.BYTES;
  private static final long VECTOR = F.vectorByteSize();

  /** Tiles of rows that are taken together where a mask cuts through a block of keys. */
  private static final int MASKED_TILES = 4;

  private static final FloatVector HIDDEN = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);

  private final TileKernel kernel;
  private final ScoreKernel scoreKernel;
  private final long stateBytes;
  private final HostMemory memory;
  private final HostMemory.Block block;
  private final int rows;
  private final int tiles;
  private final int depth;
  private final float scale;
  private final MemorySegment queries;
  private final MemorySegment scores;
  private final MemorySegment means;
  private final MemorySegment states;
  private final int meanVectors;
  private final long meanStride;
  private final long[] from;
  private final long[] to;

  /** Whether the kernel's rows are long enough. */
  static boolean fits(int depth) {
    return depth <= Gemm.A_STRIDE && PackedKeys.KEYS <= Gemm.A_STRIDE;
  }

  MachineAttention(MachineKernels kernels, HostMemory memory, int rows, int depth, float scale) {
    this.kernel = kernels.ahead();
    this.scoreKernel = kernels.rows().scores();
    this.stateBytes = scoreKernel.stateBytes();
    this.memory = memory;
    this.rows = rows;
    this.tiles = Math.ceilDiv(rows, kernel.rows());
    this.depth = depth;
    this.scale = scale;
    int high = tiles * kernel.rows();
    meanStride = (long) PackedKeys.padded(depth) * Float.BYTES;
    meanVectors = Math.ceilDiv(depth, LENGTH);
    block = memory.take(high * (2 * STRIDE + meanStride) + rows * stateBytes);
    MemorySegment all = block.memory();
    queries = all.asSlice(0, high * STRIDE);
    scores = all.asSlice(high * STRIDE, high * STRIDE);
    means = all.asSlice(2L * high * STRIDE, high * meanStride).fill((byte) 0);
    states = all.asSlice(high * (2 * STRIDE + meanStride), rows * stateBytes);
    queries.asSlice(rows * STRIDE).fill((byte) 0);
    from = new long[rows];
    to = new long[rows];
    for (int r = 0; r < rows; r++) {
      store(FloatVector.broadcast(F, ScoreKernel.NONE), states, r * stateBytes);
      store(FloatVector.zero(F), states, r * stateBytes + VECTOR);
    }
  }

  @Override
  public void query(int row, MemorySegment q, long start) {
    long bytes = (long) depth * Float.BYTES;
    MemorySegment.copy(q, start, queries, row * STRIDE, bytes);
  }

  @Override
  public void visible(int row, long first, long end) {
    from[row] = first;
    to[row] = end;
  }

  /**
   * Where some queries do not see all keys, a few tiles at a time take only those that they see.
   */
  @Override
  public void addPacked(PackedKeys keys, long index, long place, int count) {
    boolean all = true;
    for (int r = 0; r < rows; r++) {
      all &= from[r] <= place && to[r] >= place + count;
    }
    int step = all ? tiles : MASKED_TILES;
    for (int tile = 0; tile < tiles; tile += step) {
      addPacked(keys, index, place, count, tile, Math.min(step, tiles - tile));
    }
  }

  private void addPacked(
      PackedKeys keys, long index, long place, int count, int firstTile, int tileCount) {
    int top = firstTile * kernel.rows();
    int tileRows = tileCount * kernel.rows();
    int bottom = Math.min(rows, top + tileRows);
    int low = count;
    int high = 0;
    for (int r = top; r < bottom; r++) {
      low = Math.min(low, Math.clamp(from[r] - place, 0, count));
      high = Math.max(high, Math.clamp(to[r] - place, 0, count));
    }
    int step = kernel.columns();
    low = low / step * step;
    if (low >= high) {
      return;
    }
    int width = Gemm.roundUp(high, step);
    long left = queries.address() + top * STRIDE;
    long scored = scores.address() + top * STRIDE;
    for (int j = low; j < width; j += step) {
      kernel.multiply(
          depth,
          tileRows,
          left,
          keys.keys(index, j),
          scored + (long) j * Float.BYTES,
          STRIDE,
          scale,
          false,
          j + step < width ? keys.keys(index, j + step) : keys.values(index, 0),
          (long) depth * Float.BYTES);
    }
    for (int r = top; r < bottom; r++) {
      int end = Math.clamp(to[r] - place, low, high);
      hide(r, low, Math.clamp(from[r] - place, low, end));
      hide(r, end, width);
    }
    MemorySegment weights = scores.asSlice(top * STRIDE + (long) low * Float.BYTES);
    MemorySegment sums = means.asSlice(top * meanStride);
    scoreKernel.weigh(
        bottom - top,
        (width - low) / LENGTH,
        weights,
        STRIDE,
        states.asSlice(top * stateBytes),
        sums,
        meanVectors,
        meanStride);
    int terms = high - low;
    long above = low * (long) step * Float.BYTES;
    for (int d = 0; d < depth; d += step) {
      boolean last = d + step >= depth;
      kernel.multiply(
          terms,
          tileRows,
          weights.address(),
          keys.values(index, d) + above,
          sums.address() + (long) d * Float.BYTES,
          meanStride,
          1,
          true,
          last ? keys.keys(keys.next(index), 0) : keys.values(index, d + step) + above,
          (long) terms * Float.BYTES);
    }
  }

  /** Scores that are −∞ weigh nothing. */
  private void hide(int row, int first, int end) {
    int i = first;
    for (; i < end && i % LENGTH != 0; i++) {
      scores.set(Element.FLOAT, row * STRIDE + (long) i * Float.BYTES, Float.NEGATIVE_INFINITY);
    }
    for (; i <= end - LENGTH; i += LENGTH) {
      store(HIDDEN, scores, row * STRIDE + (long) i * Float.BYTES);
    }
    for (; i < end; i++) {
      scores.set(Element.FLOAT, row * STRIDE + (long) i * Float.BYTES, Float.NEGATIVE_INFINITY);
    }
  }

  @Override
  public void mean(int row, MemorySegment out, long head) {
    double sum = Lanes.sum(load(states, (row + 1L) * stateBytes - VECTOR));
    float factor = sum == 0 ? 0 : (float) (1 / sum);
    long at = row * meanStride;
    long start = head * depth * Float.BYTES;
    int d = 0;
    for (; d <= depth - LENGTH; d += LENGTH) {
      long offset = (long) d * Float.BYTES;
      store(load(means, at + offset).mul(factor), out, start + offset);
    }
    for (; d < depth; d++) {
      long offset = (long) d * Float.BYTES;
      out.set(Element.FLOAT, start + offset, means.get(Element.FLOAT, at + offset) * factor);
    }
  }

  @Override
  public void close() {
    memory.give(block);
  }
}
