package fqt.tensor;

import java.lang.foreign.MemorySegment;

/** Host memory that a tensor may look at but does not own; its arena decides its lifetime. */
record BorrowedStorage(MemorySegment segment) implements Storage {
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
}
