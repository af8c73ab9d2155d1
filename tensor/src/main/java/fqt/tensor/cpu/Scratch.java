package fqt.tensor.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedDeque;

/** Memory that products use one after the other: new memory is never in the cache. */
final class Scratch {
  private static final long ALIGNMENT = 64;

  private final ConcurrentLinkedDeque<MemorySegment> idle = new ConcurrentLinkedDeque<>();

  /** Memory that the garbage collector frees. */
  static MemorySegment allocate(long bytes) {
    return HugePages.allocate(Arena.ofAuto(), bytes, ALIGNMENT);
  }

  /** Memory that was given back, if it is large enough, or new memory. */
  MemorySegment take(long bytes) {
    MemorySegment free = idle.pollFirst();
    return free != null && free.byteSize() >= bytes ? free : allocate(bytes);
  }

  /** Takes memory back. */
  void give(MemorySegment memory) {
    idle.addFirst(memory);
  }
}
