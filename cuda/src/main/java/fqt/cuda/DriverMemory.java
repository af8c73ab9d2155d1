package fqt.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import jcuda.driver.CUmemPool_attribute;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * Memory as the driver gives it to a stream, from the pool that it keeps for each GPU. What is
 * freed stays in that pool, or allocations would be slow; but pieces of many sizes leave gaps in it
 * that no large piece fits into, so before a large one a pool with too much of them is emptied.
 */
final class DriverMemory implements DevicePool.Source {
  /** Size from which on pieces are large. */
  private static final long LARGE = 512L << 20;

  /** Bytes that may stay reserved without being used, when a large piece is asked for. */
  private static final long SLACK = 1L << 30;

  private static final MethodHandle DEFAULT_POOL;
  private static final MethodHandle SET;
  private static final MethodHandle GET;
  private static final MethodHandle TRIM;

  static {
    Driver.require();
    SymbolLookup cuda = SymbolLookup.libraryLookup("libcuda.so.1", Arena.global());
    Linker linker = Linker.nativeLinker();
    FunctionDescriptor attribute = FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS);
    DEFAULT_POOL =
        linker.downcallHandle(
            cuda.findOrThrow("cuDeviceGetDefaultMemPool"),
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
    SET = linker.downcallHandle(cuda.findOrThrow("cuMemPoolSetAttribute"), attribute);
    GET = linker.downcallHandle(cuda.findOrThrow("cuMemPoolGetAttribute"), attribute);
    TRIM =
        linker.downcallHandle(
            cuda.findOrThrow("cuMemPoolTrimTo"),
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));
  }

  private final CudaContext context;
  private final MemorySegment pool;

  DriverMemory(CudaContext context) {
    this.context = context;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment found = arena.allocate(ADDRESS);
      CudaException.check(
          call(DEFAULT_POOL, found, context.device().index()), "finding the memory pool of a GPU");
      pool = found.get(ADDRESS, 0);
      MemorySegment everything = arena.allocate(JAVA_LONG);
      everything.set(JAVA_LONG, 0, -1);
      int threshold = CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
      CudaException.check(
          call(SET, pool, threshold, everything), "setting up the memory pool of a GPU");
    }
  }

  private static int call(MethodHandle function, Object... arguments) {
    try {
      return (int) function.invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new AssertionError("a downcall throws nothing", e);
    }
  }

  private long attribute(int which) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocate(JAVA_LONG);
      context.check(call(GET, pool, which, value), "reading the memory pool of a GPU");
      return value.get(JAVA_LONG, 0);
    }
  }

  /** The driver's pool. */
  MemorySegment pool() {
    return pool;
  }

  /** The most bytes that the driver's pool has held at once, in use or not. */
  long mostReserved() {
    return attribute(CUmemPool_attribute.CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH);
  }

  @Override
  public long allocate(long byteSize) {
    context.bind();
    if (byteSize >= LARGE && unused() > SLACK) {
      settle();
    }
    Handles.DevicePointer pointer = new Handles.DevicePointer();
    int code = JCudaDriver.cuMemAllocAsync(pointer, byteSize, context.stream().handle());
    if (code == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
      return 0;
    }
    context.check(code, "allocating " + byteSize + " bytes on " + context.device());
    return pointer.address();
  }

  private long unused() {
    return attribute(CUmemPool_attribute.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
        - attribute(CUmemPool_attribute.CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
  }

  @Override
  public void free(long address, long byteSize) {
    context.bind();
    context.check(
        JCudaDriver.cuMemFreeAsync(new Handles.DevicePointer(address), context.stream().handle()),
        "freeing " + byteSize + " bytes on " + context.device());
  }

  @Override
  public void settle() {
    context.stream().synchronize();
    context.check(call(TRIM, pool, 0L), "giving back the unused memory of a GPU");
  }

  @Override
  public long free() {
    context.bind();
    long[] free = new long[1];
    long[] total = new long[1];
    context.check(JCudaDriver.cuMemGetInfo(free, total), "reading the size of the memory");
    return free[0] + unused();
  }
}
