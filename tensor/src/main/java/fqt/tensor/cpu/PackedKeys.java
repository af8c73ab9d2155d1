package fqt.tensor.cpu;

import static fqt.tensor.cpu.TileLoops.COLUMNS;

import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.TurnKernel;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * Keys and values of all sequences and heads, laid out for products of small matrices: blocks of
 * {@link #KEYS} keys turned to [D, KEYS], and beside each its values [KEYS, D] with D rounded up to
 * whole strips. Both are cut into strips of {@link TileLoops#COLUMNS} columns, one after the other.
 * A block holds keys of one sequence; what is missing is 0.
 */
final class PackedKeys implements AutoCloseable {
  /** Keys of a block: a multiple of four vectors of any length. */
  static final int KEYS = 128;

  /** Bytes of a row of a strip. */
  private static final long STRIP = (long) COLUMNS * Float.BYTES;

  private final TurnKernel turn;
  private final HostMemory memory;
  private final HostMemory.Block block;
  private final long[] firstBlock;
  private final long groups;
  private final int depth;
  private final int padded;

  private PackedKeys(TurnKernel turn, HostMemory memory, Tensor k, long[] bounds) {
    this.turn = turn;
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

  /** D rounded up to whole strips. */
  static int padded(int depth) {
    return Math.ceilDiv(depth, COLUMNS) * COLUMNS;
  }

  /**
   * Packs.
   *
   * @param turn machine code that turns rows into columns of a strip, or null
   */
  static PackedKeys pack(
      Threads threads, TurnKernel turn, HostMemory memory, Tensor k, Tensor v, long[] bounds) {
    PackedKeys packed = new PackedKeys(turn, memory, k, bounds);
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
          float[] lines = new float[COLUMNS * depth];
          float[] turned = new float[depth * COLUMNS];
          for (long i = first; i < end; i++) {
            long key = i / groups * KEYS;
            int count = (int) Math.min(KEYS, endKey - firstKey - key);
            long at = index(sequence, key, i % groups);
            packKeys(k, firstKey + key, i % groups, count, lines, turned, at);
            packValues(v, firstKey + key, i % groups, count, at);
          }
        });
  }

  private void packKeys(
      Tensor k, long key, long group, int count, float[] lines, float[] turned, long at) {
    MemorySegment from = k.storage().segment();
    long start = k.offset() + key * k.stride(0) + group * k.stride(1);
    for (int j = 0; j < KEYS; j += COLUMNS) {
      int width = Math.clamp(count - j, 0, COLUMNS);
      if (turn != null && width == COLUMNS && depth % TurnKernel.SIDE == 0) {
        turnStrip(k, start + j * k.stride(0), keys(at) + (long) j * depth * Float.BYTES);
        continue;
      }
      Arrays.fill(turned, 0);
      for (int i = 0; i < width; i++) {
        long line = (start + (j + i) * k.stride(0)) * Float.BYTES;
        MemorySegment.copy(from, Element.FLOAT, line, lines, i * depth, depth);
      }
      Transpose.copy(lines, 0, depth, width, depth, turned, 0, COLUMNS);
      long to = keys(at) + (long) j * depth * Float.BYTES;
      MemorySegment.copy(turned, 0, block.memory(), Element.FLOAT, to, turned.length);
    }
  }

  /** A strip whose keys are all there. */
  private void turnStrip(Tensor k, long element, long to) {
    long step = k.stride(0) * Float.BYTES;
    for (int i = 0; i < COLUMNS; i += TurnKernel.SIDE) {
      long from = element * Float.BYTES + i * step;
      long bytes = (TurnKernel.SIDE - 1) * step + (long) depth * Float.BYTES;
      long target = to + (long) i * Float.BYTES;
      long written = ((depth - 1L) * COLUMNS + TurnKernel.SIDE) * Float.BYTES;
      turn.turn(
          depth / TurnKernel.SIDE,
          k.storage().segment().asSlice(from, bytes),
          step,
          block.memory().asSlice(target, written));
    }
  }

  private void packValues(Tensor v, long key, long group, int count, long at) {
    MemorySegment from = v.storage().segment();
    MemorySegment to = block.memory();
    if (count < KEYS || padded > depth) {
      to.asSlice(values(at), (long) KEYS * padded * Float.BYTES).fill((byte) 0);
    }
    long step = v.stride(0) * Float.BYTES;
    for (int d = 0; d < depth; d += COLUMNS) {
      long start = (v.offset() + key * v.stride(0) + group * v.stride(1) + d) * Float.BYTES;
      long target = values(at) + (long) d * KEYS * Float.BYTES;
      if (d + COLUMNS <= depth) {
        copyStrip(from, start, step, count, to, target);
      } else {
        long bytes = (long) (depth - d) * Float.BYTES;
        for (int j = 0; j < count; j++) {
          MemorySegment.copy(from, start + j * step, to, target + j * STRIP, bytes);
        }
      }
    }
  }

  /** Whole rows of a strip: two vectors each. */
  private static void copyStrip(
      MemorySegment from, long start, long step, int count, MemorySegment to, long target) {
    long half = STRIP / 2;
    for (int j = 0; j < count; j++) {
      long source = start + j * step;
      FloatVector first = Lanes.load(from, source);
      FloatVector second = Lanes.load(from, source + half);
      Lanes.store(first, to, target + j * STRIP);
      Lanes.store(second, to, target + j * STRIP + half);
    }
  }

  /** Which block holds a key, counted within its sequence, of one group of heads. */
  long index(int sequence, long key, long group) {
    return (firstBlock[sequence] + key / KEYS) * groups + group;
  }

  /** Reads a block. */
  void read(long index, float[] keys, float[] values) {
    MemorySegment.copy(block.memory(), Element.FLOAT, keys(index), keys, 0, keys.length);
    MemorySegment.copy(block.memory(), Element.FLOAT, values(index), values, 0, values.length);
  }

  /** The address of the strip of keys that begins with key {@code column} of a block. */
  long keys(long index, int column) {
    return block.memory().address() + keys(index) + (long) column * depth * Float.BYTES;
  }

  /** The address of the strip of values that begins with feature {@code column} of a block. */
  long values(long index, int column) {
    return block.memory().address() + values(index) + (long) column * KEYS * Float.BYTES;
  }

  /** The block with the next keys of the same heads. */
  long next(long index) {
    return index + groups;
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
