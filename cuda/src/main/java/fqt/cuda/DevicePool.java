package fqt.cuda;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * Memory of a GPU for the work of its main stream. What is given back is kept for the next request
 * of the same size, without a call of the driver: layers ask for the same sizes over and over.
 * Since the stream runs in order, a piece may be used again while work with its former contents is
 * still waiting.
 */
final class DevicePool {
  private static final long GRAIN = 512;
  private static final long LARGEST_KEPT = 256L << 20;
  private static final int SHARE_KEPT = 32;

  private final CudaContext context;
  private final Map<Long, ArrayDeque<Long>> idle = new HashMap<>();
  private long idleBytes;
  private long idleLimit = -1;

  DevicePool(CudaContext context) {
    this.context = context;
  }

  private static long rounded(long byteSize) {
    return Math.ceilDiv(Math.max(1, byteSize), GRAIN) * GRAIN;
  }

  /**
   * An address of at least so many bytes.
   *
   * @throws CudaException if there is not enough, with what is free
   */
  synchronized long take(long byteSize) {
    long size = rounded(byteSize);
    ArrayDeque<Long> pieces = idle.get(size);
    if (pieces != null && !pieces.isEmpty()) {
      idleBytes -= size;
      return pieces.pop();
    }
    context.bind();
    Handles.DevicePointer pointer = new Handles.DevicePointer();
    int code = allocate(pointer, size);
    if (code == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
      trim();
      context.stream().synchronize();
      code = allocate(pointer, size);
    }
    if (code == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
      long[] free = new long[1];
      long[] total = new long[1];
      JCudaDriver.cuMemGetInfo(free, total);
      throw new CudaException(
          code,
          "%s has %d of %d bytes free; %d were asked for"
              .formatted(context.device(), free[0], total[0], byteSize));
    }
    context.check(code, "allocating " + byteSize + " bytes on " + context.device());
    return pointer.address();
  }

  private int allocate(Handles.DevicePointer pointer, long size) {
    return JCudaDriver.cuMemAllocAsync(pointer, size, context.stream().handle());
  }

  /** Takes back what {@link #take} gave for so many bytes. */
  synchronized void give(long address, long byteSize) {
    long size = rounded(byteSize);
    if (size <= LARGEST_KEPT && idleBytes + size <= idleLimit()) {
      idle.computeIfAbsent(size, unused -> new ArrayDeque<>()).push(address);
      idleBytes += size;
    } else {
      free(address, size);
    }
  }

  private long idleLimit() {
    if (idleLimit < 0) {
      context.bind();
      long[] free = new long[1];
      long[] total = new long[1];
      context.check(JCudaDriver.cuMemGetInfo(free, total), "reading the size of the memory");
      idleLimit = total[0] / SHARE_KEPT;
    }
    return idleLimit;
  }

  /** Gives everything that is idle back to the driver. */
  synchronized void trim() {
    idle.forEach((size, pieces) -> pieces.forEach(address -> free(address, size)));
    idle.clear();
    idleBytes = 0;
  }

  private void free(long address, long size) {
    context.bind();
    context.check(
        JCudaDriver.cuMemFreeAsync(new Handles.DevicePointer(address), context.stream().handle()),
        "freeing " + size + " bytes on " + context.device());
  }
}
