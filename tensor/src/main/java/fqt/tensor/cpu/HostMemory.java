package fqt.tensor.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.NavigableMap;
import java.util.SequencedSet;
import java.util.TreeMap;

/**
 * The allocator of host tensors. Memory comes in blocks, each with an arena of its own, in sizes
 * rounded up by at most an eighth, so that the tensors of one layer find the blocks of the layer
 * before. Released blocks wait for reuse; beyond a limit of idle bytes the ones that waited longest
 * go back to the operating system. Blocks are aligned to cache lines, and their contents are
 * undefined. Safe for use by several threads.
 */
final class HostMemory {
  /** Alignment of every block, in bytes: one cache line, one widest vector. */
  static final long ALIGNMENT = 64;

  /** A piece of native memory that closing its arena gives back. */
  record Block(Arena arena, MemorySegment memory) {
    long byteSize() {
      return memory.byteSize();
    }
  }

  private final long idleLimit;
  private final NavigableMap<Long, Deque<Block>> idleBySize = new TreeMap<>();
  private final SequencedSet<Block> idleByAge = new LinkedHashSet<>();
  private long idleBytes;
  private long liveBytes;

  /** A memory that keeps at most {@code idleLimit} released bytes for reuse. */
  HostMemory(long idleLimit) {
    this.idleLimit = idleLimit;
  }

  /** A storage of undefined contents; it takes a block when it is first used. */
  HostStorage allocate(long byteSize) {
    synchronized (this) {
      liveBytes += byteSize;
    }
    return new HostStorage(this, byteSize);
  }

  /** Bytes in storages that were neither released nor handed to the garbage collector. */
  synchronized long liveBytes() {
    return liveBytes;
  }

  /** Bytes in blocks that wait for reuse. */
  synchronized long idleBytes() {
    return idleBytes;
  }

  /** A block of at least that many bytes. */
  synchronized Block take(long byteSize) {
    long wanted = roundUp(byteSize);
    Map.Entry<Long, Deque<Block>> fit = idleBySize.ceilingEntry(wanted);
    if (fit != null && fit.getKey() <= wanted + wanted / 4) {
      Block block = fit.getValue().peekLast();
      forget(block);
      return block;
    }
    Arena arena = Arena.ofShared();
    return new Block(arena, HugePages.allocate(arena, wanted, ALIGNMENT));
  }

  /** Takes a block back. */
  synchronized void give(Block block) {
    idleBySize.computeIfAbsent(block.byteSize(), size -> new ArrayDeque<>()).addLast(block);
    idleByAge.add(block);
    idleBytes += block.byteSize();
    while (idleBytes > idleLimit) {
      Block oldest = idleByAge.getFirst();
      forget(oldest);
      oldest.arena().close();
    }
  }

  /** Stops counting the bytes of a storage as live. */
  synchronized void uncount(long byteSize) {
    liveBytes -= byteSize;
  }

  private void forget(Block block) {
    Deque<Block> sameSize = idleBySize.get(block.byteSize());
    sameSize.remove(block);
    if (sameSize.isEmpty()) {
      idleBySize.remove(block.byteSize());
    }
    idleByAge.remove(block);
    idleBytes -= block.byteSize();
  }

  /** Eight sizes to each doubling, all multiples of {@link #ALIGNMENT}. */
  static long roundUp(long byteSize) {
    long step = Math.max(ALIGNMENT, Long.highestOneBit(Math.max(1, byteSize)) >> 3);
    return Math.max(step, Math.ceilDiv(byteSize, step) * step);
  }
}
