package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Keys and values of all sequences and heads, laid out for products of small matrices: blocks of
 * {@link #KEYS} keys turned to [D, KEYS], and beside each its values [KEYS, D] with D rounded up to
 * whole vectors. A block holds keys of one sequence; what is missing is 0.
 */
final class PackedKeys implements AutoCloseable {
  /** Keys of a block: a multiple of four vectors of any length. */
  static final int KEYS = 64;

  private final HostMemory memory;
  private final HostMemory.Block block;
  private final long[] firstBlock;
  private final long groups;
  private final int depth;
  private final int padded;

  private PackedKeys(HostMemory memory, Tensor k, long[] bounds) {
    this.memory = memory;
    this.groups = k.dim(1);
    this.depth = Math.toIntExact(k.dim(2));
    this.padded = padded(depth);
    this.firstBlock = new long[bounds.length];
    for (int s = 0; s + 1 < bounds.length; s++) {
      firstBlock[s + 1] = firstBlock[s] + Math.ceilDiv(bounds[s + 1] - bounds[s], KEYS);
    }
    long blocks = firstBlock[firstBlock.length - 1] * groups;
    this.block = memory.take(blocks * blockBytes());
  }

  /** D rounded up to whole vectors. */
  static int padded(int depth) {
    return Math.ceilDiv(depth, Lanes.LENGTH) * Lanes.LENGTH;
  }

  static PackedKeys pack(Threads threads, HostMemory memory, Tensor k, Tensor v, long[] bounds) {
    PackedKeys packed = new PackedKeys(memory, k, bounds);
    for (int s = 0; s + 1 < bounds.length; s++) {
      packed.packSequence(threads, k, v, s, bounds[s], bounds[s + 1]);
    }
    return packed;
  }

  private void packSequence(
      Threads threads, Tensor k, Tensor v, int sequence, long firstKey, long endKey) {
    long blocks = firstBlock[sequence + 1] - firstBlock[sequence];
    threads.forEach(
        blocks * groups,
        Math.max(1, Pointwise.rowsAtOnce((long) KEYS * depth)),
        (first, end) -> {
          float[] row = new float[padded];
          float[] turned = new float[depth * KEYS];
          for (long i = first; i < end; i++) {
            long key = i / groups * KEYS;
            int count = (int) Math.min(KEYS, endKey - firstKey - key);
            long at = index(sequence, key, i % groups);
            packKeys(k, firstKey + key, i % groups, count, row, turned, at);
            packValues(v, firstKey + key, i % groups, count, row, at);
          }
        });
  }

  private void packKeys(
      Tensor k, long key, long group, int count, float[] row, float[] turned, long at) {
    MemorySegment from = k.storage().segment();
    for (int j = 0; j < KEYS; j++) {
      if (j < count) {
        long start = k.offset() + (key + j) * k.stride(0) + group * k.stride(1);
        MemorySegment.copy(from, Element.FLOAT, start * Float.BYTES, row, 0, depth);
      }
      for (int d = 0; d < depth; d++) {
        turned[d * KEYS + j] = j < count ? row[d] : 0;
      }
    }
    MemorySegment.copy(turned, 0, block.memory(), Element.FLOAT, keys(at), turned.length);
  }

  private void packValues(Tensor v, long key, long group, int count, float[] row, long at) {
    MemorySegment from = v.storage().segment();
    for (int j = 0; j < KEYS; j++) {
      Arrays.fill(row, 0);
      if (j < count) {
        long start = v.offset() + (key + j) * v.stride(0) + group * v.stride(1);
        MemorySegment.copy(from, Element.FLOAT, start * Float.BYTES, row, 0, depth);
      }
      long to = values(at) + (long) j * padded * Float.BYTES;
      MemorySegment.copy(row, 0, block.memory(), Element.FLOAT, to, padded);
    }
  }

  /** Which block holds a key, counted within its sequence, of one group of heads. */
  long index(int sequence, long key, long group) {
    return (firstBlock[sequence] + key / KEYS) * groups + group;
  }

  /** Room for the keys of a block [D, KEYS]. */
  float[] newKeys() {
    return new float[depth * KEYS];
  }

  /** Room for the values of a block [KEYS, padded D]. */
  float[] newValues() {
    return new float[KEYS * padded];
  }

  /** Reads a block. */
  void read(long index, float[] keys, float[] values) {
    MemorySegment.copy(block.memory(), Element.FLOAT, keys(index), keys, 0, keys.length);
    MemorySegment.copy(block.memory(), Element.FLOAT, values(index), values, 0, values.length);
  }

  private long keys(long index) {
    return index * blockBytes();
  }

  private long values(long index) {
    return index * blockBytes() + (long) depth * KEYS * Float.BYTES;
  }

  private long blockBytes() {
    return (long) (depth + padded) * KEYS * Float.BYTES;
  }

  @Override
  public void close() {
    memory.give(block);
  }
}
