package fqt.cuda;

import fqt.tensor.Device;
import fqt.tensor.Storage;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Cleaner;

/** Memory of a GPU, as tensors see it. */
final class DeviceStorage implements Storage {
  private static final Cleaner CLEANER = Cleaner.create();

  private final Device device;
  private final Allocation allocation;
  private Cleaner.Cleanable cleanable;

  DeviceStorage(Device device, Allocation allocation) {
    this.device = device;
    this.allocation = allocation;
  }

  /** What is given back, exactly once; it must not know the storage, or that were never garbage. */
  static final class Allocation implements Runnable {
    private final CudaContext context;
    private final long address;
    private final long byteSize;
    private final long counted;
    private boolean released;

    Allocation(CudaContext context, long address, long byteSize, long counted) {
      this.context = context;
      this.address = address;
      this.byteSize = byteSize;
      this.counted = counted;
    }

    @Override
    public synchronized void run() {
      if (!released) {
        released = true;
        context.free(address, byteSize, counted);
      }
    }
  }

  /** The GPU that the memory belongs to. */
  CudaContext context() {
    return allocation.context;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public long byteSize() {
    return allocation.byteSize;
  }

  @Override
  public MemorySegment segment() {
    throw new IllegalStateException(
        "%d bytes on %s cannot be read from the host; copy them to the CPU first"
            .formatted(byteSize(), device));
  }

  @Override
  public long address() {
    if (allocation.released) {
      throw new IllegalStateException("%d bytes on %s were released".formatted(byteSize(), device));
    }
    return allocation.address;
  }

  @Override
  public synchronized void release() {
    if (cleanable == null) {
      allocation.run();
    } else {
      cleanable.clean();
    }
  }

  @Override
  public synchronized void detach() {
    if (cleanable == null) {
      cleanable = CLEANER.register(this, allocation);
    }
  }
}
