package fqt.tensor;

import java.lang.foreign.MemorySegment;

/** Host memory that a tensor may look at but does not own; its arena decides its lifetime. */
final class BorrowedStorage implements Storage {
  private final MemorySegment segment;
  private volatile Derived derived;

  BorrowedStorage(MemorySegment segment) {
    this.segment = segment;
  }

  @Override
  public MemorySegment segment() {
    return segment;
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public long byteSize() {
    return segment.byteSize();
  }

  @Override
  public long address() {
    return segment.address();
  }

  @Override
  public void release() {
    // The owner of the memory releases it.
  }

  @Override
  public void detach() {
    // Lifetime is the owner's business.
  }

  @Override
  public synchronized void freeze() {
    derived = derived == null ? new Derived(true) : derived;
  }

  @Override
  public Derived derived() {
    return derived;
  }
}
