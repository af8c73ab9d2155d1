package fqt.tensor.cpu;

import fqt.tensor.Derived;
import fqt.tensor.Device;
import fqt.tensor.Storage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Host memory that a scope owns, or, once detached, the garbage collector. It takes memory when it
 * is first used: a tensor that no scope owns is detached before that and never touches the pool.
 *
 * <p>A segment is good until the storage is released or detached.
 */
final class HostStorage implements Storage {
  private final HostMemory memory;
  private final long byteSize;
  private volatile MemorySegment segment;
  private HostMemory.Block block;
  private volatile Derived derived;
  private boolean detached;
  private boolean released;

  HostStorage(HostMemory memory, long byteSize) {
    this.memory = memory;
    this.byteSize = byteSize;
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public long byteSize() {
    return byteSize;
  }

  @Override
  public MemorySegment segment() {
    MemorySegment ready = segment;
    return ready != null ? ready : firstUse();
  }

  private synchronized MemorySegment firstUse() {
    if (released) {
      throw new IllegalStateException(
          "use of a tensor whose scope was closed: its %d bytes were released".formatted(byteSize));
    }
    if (segment == null && detached) {
      segment = HugePages.allocate(Arena.ofAuto(), byteSize, HostMemory.ALIGNMENT);
    } else if (segment == null) {
      block = memory.take(byteSize);
      segment = block.memory().asSlice(0, byteSize);
    }
    return segment;
  }

  @Override
  public long address() {
    return segment().address();
  }

  @Override
  public synchronized void release() {
    if (released) {
      return;
    }
    released = true;
    segment = null;
    if (derived != null) {
      derived.release();
    }
    leavePool();
  }

  @Override
  public synchronized void detach() {
    if (released || detached) {
      return;
    }
    if (block != null) {
      MemorySegment copy = HugePages.allocate(Arena.ofAuto(), byteSize, HostMemory.ALIGNMENT);
      segment = copy.copyFrom(segment);
    }
    leavePool();
    detached = true;
    if (derived != null) {
      derived.detach();
    }
  }

  @Override
  public synchronized void freeze() {
    derived = derived == null ? new Derived(detached) : derived;
  }

  @Override
  public Derived derived() {
    return derived;
  }

  private void leavePool() {
    if (detached) {
      return;
    }
    memory.uncount(byteSize);
    if (block != null) {
      memory.give(block);
      block = null;
    }
  }
}
