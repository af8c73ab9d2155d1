package fqt.cuda;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUresult;

/**
 * Memory of a GPU for the work of its main stream. What is given back is kept for the next request
 * of the same size, without a call of the driver: layers ask for the same sizes over and over.
 * Since the stream runs in order, a piece may be used again while work with its former contents is
 * still waiting.
 */
final class DevicePool {
  private static final long GRAIN = 512;
  private static final long LARGEST_KEPT = 32L << 20;
  private static final long MOST_KEPT = 256L << 20;

  /** Where the memory comes from. */
  interface Source {
    /** An address of so many bytes, or 0 if there are not as many. */
    long allocate(long byteSize);

    /** Takes back what {@link #allocate} gave. */
    void free(long address, long byteSize);

    /** Waits until what was freed can be allocated again, in pieces of any size. */
    void settle();

    /** Bytes that a request could still get. */
    long free();
  }

  private final String name;
  private final Source source;
  private final long limit;
  private final Map<Long, ArrayDeque<Long>> idle = new HashMap<>();
  private long idleBytes;
  private long usedBytes;
  private long peakBytes;

  /**
   * Nothing taken yet.
   *
   * @param name of the GPU, for errors
   * @param limit bytes to take from the source at most
   */
  DevicePool(String name, Source source, long limit) {
    this.name = name;
    this.source = source;
    this.limit = limit;
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
      use(size);
      return pieces.pop();
    }
    long address = allocate(size);
    if (address == 0) {
      trim();
      source.settle();
      address = allocate(size);
    }
    if (address == 0) {
      throw new CudaException(
          CUresult.CUDA_ERROR_OUT_OF_MEMORY,
          "%s has %d bytes free beside %d in use; %d were asked for"
              .formatted(name, free(), usedBytes, byteSize));
    }
    use(size);
    return address;
  }

  private long allocate(long size) {
    return usedBytes + idleBytes + size > limit ? 0 : source.allocate(size);
  }

  private void use(long size) {
    usedBytes += size;
    peakBytes = Math.max(peakBytes, usedBytes + idleBytes);
  }

  /** Takes back what {@link #take} gave for so many bytes. */
  synchronized void give(long address, long byteSize) {
    long size = rounded(byteSize);
    usedBytes -= size;
    if (size <= LARGEST_KEPT && idleBytes + size <= MOST_KEPT) {
      idle.computeIfAbsent(size, unused -> new ArrayDeque<>()).push(address);
      idleBytes += size;
    } else {
      source.free(address, size);
    }
  }

  /** Bytes that can still be taken. */
  synchronized long free() {
    return Math.max(0, Math.min(source.free() + idleBytes, limit - usedBytes));
  }

  /** The most bytes taken from the source at once since the last call. */
  synchronized long takePeak() {
    long peak = peakBytes;
    peakBytes = usedBytes + idleBytes;
    return peak;
  }

  /** Gives everything that is idle back to the source. */
  synchronized void trim() {
    idle.forEach((size, pieces) -> pieces.forEach(address -> source.free(address, size)));
    idle.clear();
    idleBytes = 0;
  }
}
