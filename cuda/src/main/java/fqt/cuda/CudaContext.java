package fqt.cuda;

import fqt.tensor.Backend;
import fqt.tensor.Device;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * One GPU, through its primary context, which other libraries of the process share. Close it when
 * its streams, events, graphs and storages are closed.
 */
public final class CudaContext implements AutoCloseable {
  /** Errors after which the driver refuses everything until the process ends. */
  private static final Set<Integer> STICKY =
      Set.of(
          CUresult.CUDA_ERROR_ECC_UNCORRECTABLE,
          CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,
          CUresult.CUDA_ERROR_LAUNCH_TIMEOUT,
          CUresult.CUDA_ERROR_ASSERT,
          CUresult.CUDA_ERROR_HARDWARE_STACK_ERROR,
          CUresult.CUDA_ERROR_ILLEGAL_INSTRUCTION,
          CUresult.CUDA_ERROR_MISALIGNED_ADDRESS,
          CUresult.CUDA_ERROR_INVALID_ADDRESS_SPACE,
          CUresult.CUDA_ERROR_INVALID_PC,
          CUresult.CUDA_ERROR_LAUNCH_FAILED);

  private static final String LIMIT = "fqt.cuda.memory";

  private final Device device;
  private final CUdevice handle;
  private final CUcontext context = new CUcontext();
  private final int capability;
  private final int processors;
  private final Arena arena = Arena.ofShared();
  private final AtomicLong writes = new AtomicLong();
  private final LaunchBlock block = new LaunchBlock(arena, writes);
  private final TensorMaps maps = new TensorMaps(arena);
  private final KernelSet kernels = new KernelSet();
  private final DriverMemory memory;
  private final DevicePool pool;
  private final Staging uploads = new Staging(this, arena);
  private final Staging downloads = new Staging(this, arena);
  private final PeerCopies peers = new PeerCopies(this);
  private final AtomicLong liveBytes = new AtomicLong();
  private final CudaStream stream;
  private final Faults faults;
  private volatile CudaException broken;
  private boolean closed;

  private CudaContext(int index) {
    device = Device.cuda(index);
    handle = CudaDevices.device(index);
    capability = CudaDevices.capability(handle);
    processors =
        CudaDevices.attribute(handle, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    CudaException.check(JCudaDriver.cuDevicePrimaryCtxRetain(context, handle), "opening " + device);
    stream = new CudaStream(this);
    memory = new DriverMemory(this);
    pool = new DevicePool(device.toString(), memory, memoryLimit());
    faults = new Faults(this, arena);
  }

  /**
   * Opens a GPU.
   *
   * @param index which GPU, from 0, as the driver counts
   * @return the context, which keeps the GPU in use until it is closed
   * @throws IllegalStateException if there is no driver or no such GPU, saying why
   */
  public static CudaContext open(int index) {
    return new CudaContext(index);
  }

  /** {@return where tensors of this GPU are} */
  public Device device() {
    return device;
  }

  /** {@return the stream that copies run on, and everything else that names no other} */
  public CudaStream stream() {
    return stream;
  }

  /** {@return a further stream; close it before the context} */
  public CudaStream newStream() {
    return new CudaStream(this);
  }

  /** {@return the compute capability times ten, 90 for 9.0} */
  public int capability() {
    return capability;
  }

  /** {@return how many multiprocessors the GPU has} */
  public int processors() {
    return processors;
  }

  /** {@return the bytes in storages that {@link #allocate} gave out and nobody released} */
  public long liveBytes() {
    return liveBytes.get();
  }

  /**
   * Uninitialised memory of the GPU, from a pool that keeps what was given back. It is there for
   * what is put into {@link #stream()} from now on; another stream must wait for an event of that
   * one before it uses the memory.
   *
   * @param byteSize how many bytes; 0 is allowed
   * @return storage of this GPU whose bytes are undefined
   * @throws CudaException if there is not enough, with what is free
   */
  public Storage allocate(long byteSize) {
    Storage storage = allocate(byteSize, byteSize);
    liveBytes.addAndGet(byteSize);
    return storage;
  }

  /** The same, of which only some bytes count as live. */
  Storage allocate(long byteSize, long counted) {
    return new DeviceStorage(
        device, new DeviceStorage.Allocation(this, pool.take(byteSize), byteSize, counted));
  }

  /** Memory of the GPU for our own use, not among the live bytes; holds zeros. */
  Storage allocateZeros(long byteSize) {
    Storage storage = allocate(byteSize, 0);
    fill(storage, (byte) 0);
    return storage;
  }

  /** Bytes that {@link #allocate} could still give. */
  long freeBytes() {
    return pool.free();
  }

  /** What memory was needed since the last call. */
  Backend.MemoryUse takeMemoryUse() {
    return new Backend.MemoryUse(pool.takePeak(), memory.mostReserved());
  }

  private static long memoryLimit() {
    String asked = System.getProperty(LIMIT);
    if (asked == null) {
      return Long.MAX_VALUE;
    }
    try {
      long limit = Long.parseLong(asked);
      if (limit > 0) {
        return limit;
      }
    } catch (NumberFormatException notANumber) {
      // Told below.
    }
    throw new IllegalStateException(LIMIT + " is '" + asked + "'; expected a number of bytes");
  }

  void free(long address, long byteSize, long counted) {
    liveBytes.addAndGet(-counted);
    pool.give(address, byteSize);
  }

  /**
   * Copies a contiguous tensor from the host to this GPU; the source is free on return.
   *
   * @param source contiguous, on the host
   * @param target contiguous, on this GPU, like {@code source} in type and shape
   */
  public void upload(Tensor source, Tensor target) {
    Checks.sameElements(source, target);
    long address = Checks.address(target, device, "target");
    wrote();
    bind();
    uploads.upload(source.segment(), address);
  }

  /** Copies host memory to an address of this GPU; the source is free on return. */
  void upload(MemorySegment source, long address) {
    wrote();
    bind();
    uploads.upload(source, address);
  }

  /**
   * Copies a contiguous tensor from this GPU to the host; done when the call returns.
   *
   * @param source contiguous, on this GPU
   * @param target contiguous, on the host, like {@code source} in type and shape
   * @throws IndexOutOfBoundsException if an operation since the last call was given a wrong index
   */
  public void download(Tensor source, Tensor target) {
    Checks.sameElements(source, target);
    long address = Checks.address(source, device, "source");
    bind();
    downloads.download(address, target.segment());
    faults.check();
  }

  /**
   * Copies a contiguous tensor from another GPU to this one. The source may be given back or
   * changed by what is put into its GPU's stream from now on.
   */
  void copyFromPeer(Tensor source, Tensor target) {
    Checks.sameElements(source, target);
    CudaContext peer = ((DeviceStorage) source.storage()).context();
    long from = Checks.address(source, peer.device, "source");
    long to = Checks.address(target, device, "target");
    if (source.byteSize() > 0) {
      wrote();
      peers.copy(peer, from, to, source.byteSize());
    }
  }

  /** Copies memory of this GPU to the host; done when the call returns. */
  void download(long address, MemorySegment target) {
    bind();
    downloads.download(address, target);
  }

  /**
   * Sets every byte of a storage of this GPU; done when the call returns.
   *
   * @param storage all of it is written
   * @param value repeated from the first byte to the last
   */
  public void fill(Storage storage, byte value) {
    wrote();
    bind();
    check(
        JCudaDriver.cuMemsetD8Async(
            new Handles.DevicePointer(storage.address()),
            value,
            storage.byteSize(),
            stream.handle()),
        "filling " + storage.byteSize() + " bytes on " + device);
    stream.synchronize();
  }

  /** Makes this GPU current on the calling thread, which every driver call needs. */
  void bind() {
    if (broken != null) {
      throw new CudaException(
          broken.code(), device + " is lost to this process since " + broken.getMessage());
    }
    if (closed) {
      throw new IllegalStateException(device + " is closed");
    }
    int code = JCudaDriver.cuCtxSetCurrent(context);
    if (code != CUresult.CUDA_SUCCESS) {
      CudaException.check(code, "selecting " + device);
    }
  }

  /** Like {@link CudaException#check}; remembers errors that the GPU does not recover from. */
  void check(int code, String action) {
    if (code != CUresult.CUDA_SUCCESS) {
      try {
        CudaException.check(code, action);
      } catch (CudaException e) {
        if (STICKY.contains(code)) {
          broken = e;
        }
        throw e;
      }
    }
  }

  // The caller holds this context's lock while it uses the first three.

  LaunchBlock block() {
    return block;
  }

  TensorMaps maps() {
    return maps;
  }

  KernelSet kernels() {
    return kernels;
  }

  /** The pool that the driver gives memory from. */
  MemorySegment memoryPool() {
    return memory.pool();
  }

  /** How often something was put into a stream that writes memory of this GPU. */
  long writes() {
    return writes.get();
  }

  /** Notes that memory is written by other means than a kernel. */
  void wrote() {
    writes.incrementAndGet();
  }

  /** Where kernels note wrong indices. */
  long fault() {
    return faults.address();
  }

  /** Waits for the GPU's work and lets the GPU go. A second call does nothing. */
  @Override
  public synchronized void close() {
    if (!closed) {
      if (broken == null) {
        stream.synchronize();
        uploads.close();
        downloads.close();
        faults.close();
        stream.releaseWorkspace();
        pool.trim();
        stream.close();
        bind();
        kernels.unload();
      }
      closed = true;
      arena.close();
      JCudaDriver.cuDevicePrimaryCtxRelease(handle);
    }
  }
}
