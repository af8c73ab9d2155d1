package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.Tensor;
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
  private boolean begun;

  /** Whether the kernel's rows are long enough. */
  static boolean fits(int depth) {
    return depth <= Gemm.A_STRIDE && PackedKeys.KEYS <= Gemm.A_STRIDE;
  }

  MachineAttention(KernelChoice kernels, HostMemory memory, int rows, int depth, float scale) {
    this.kernel = kernels.floats();
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
    means = all.asSlice(2L * high * STRIDE, high * meanStride);
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
      int end = Math.clamp(to[r] - place, 0, count);
      hide(r, 0, Math.clamp(from[r] - place, 0, end));
      hide(r, end, width);
    }
    scoreKernel.weigh(rows, width / LENGTH, scores, STRIDE, states, means, meanVectors, meanStride);
    for (int d = 0; d < depth; d += step) {
      MemorySegment to = means.asSlice((long) d * Float.BYTES);
      kernel.multiply(count, tiles, scores, keys.values(index, d), to, meanStride, 1, begun);
    }
    begun = true;
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
  public void mean(int row, Tensor out, long head) {
    MemorySegment target = out.segment();
    double sum = Lanes.sum(load(states, (row + 1L) * stateBytes - VECTOR));
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
