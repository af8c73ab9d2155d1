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
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * The CUDA driver: loaded and initialized once, and the few functions that JCuda 12.6 lacks. Every
 * use of JCuda comes after {@link #require}.
 */
final class Driver {
  /** Why there is no driver, or null if there is one. */
  private static final String ABSENT;

  private static final MethodHandle ENCODE_TILED;
  private static final MethodHandle LAUNCH;
  private static final MethodHandle SET_ACCESS;

  static {
    String absent = null;
    MethodHandle encode = null;
    MethodHandle launch = null;
    MethodHandle access = null;
    try {
      SymbolLookup cuda = SymbolLookup.libraryLookup("libcuda.so.1", Arena.global());
      Linker linker = Linker.nativeLinker();
      encode =
          linker.downcallHandle(
              cuda.findOrThrow("cuTensorMapEncodeTiled"),
              FunctionDescriptor.of(
                  JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS,
                  ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT));
      launch =
          linker.downcallHandle(
              cuda.findOrThrow("cuLaunchKernelEx"),
              FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS));
      access =
          linker.downcallHandle(
              cuda.findOrThrow("cuMemPoolSetAccess"),
              FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_LONG));
      Natives.load("JCudaDriver", "jcuda.driver.JCudaDriver");
      absent = initialize();
    } catch (IllegalArgumentException e) {
      absent = "no NVIDIA driver: libcuda.so.1 cannot be loaded";
    } catch (java.util.NoSuchElementException e) {
      absent = "the NVIDIA driver is older than CUDA 12.0: " + e.getMessage();
    } catch (IllegalStateException e) {
      absent = e.getMessage();
    }
    ABSENT = absent;
    ENCODE_TILED = encode;
    LAUNCH = launch;
    SET_ACCESS = access;
  }

  private Driver() {}

  private static String initialize() {
    int code = JCudaDriver.cuInit(0);
    if (code == CUresult.CUDA_SUCCESS) {
      return null;
    }
    String[] words = new String[1];
    JCudaDriver.cuGetErrorString(code, words);
    return "the NVIDIA driver does not start: %s (%s)"
        .formatted(words[0], CUresult.stringFor(code));
  }

  /** Why there is no driver, or null if there is one. */
  static String absent() {
    return ABSENT;
  }

  /**
   * Makes sure that there is a driver.
   *
   * @throws IllegalStateException if there is none, saying why
   */
  static void require() {
    if (ABSENT != null) {
      throw new IllegalStateException(ABSENT);
    }
  }

  /** Launches a kernel: a CUlaunchConfig, a CUfunction and pointers to its arguments. */
  static int launch(MemorySegment config, long function, MemorySegment arguments) {
    try {
      return (int) LAUNCH.invokeExact(config, function, arguments, MemorySegment.NULL);
    } catch (Throwable e) {
      throw new AssertionError("a downcall of cuLaunchKernelEx throws nothing", e);
    }
  }

  /** Changes who may use a pool of memory: a CUmemoryPool and one CUmemAccessDesc. */
  static int setAccess(MemorySegment pool, MemorySegment access) {
    try {
      return (int) SET_ACCESS.invokeExact(pool, access, 1L);
    } catch (Throwable e) {
      throw new AssertionError("a downcall of cuMemPoolSetAccess throws nothing", e);
    }
  }

  /** Encodes a CUtensorMap of bytes in two dimensions, 128-byte swizzle, zeros outside. */
  static int encodeTiled(
      MemorySegment map,
      long address,
      MemorySegment sizes,
      MemorySegment strides,
      MemorySegment box,
      MemorySegment steps) {
    final int bytes = 0;
    final int noInterleave = 0;
    final int swizzle128 = 3;
    final int promote256 = 3;
    final int zeros = 0;
    try {
      return (int)
          ENCODE_TILED.invokeExact(
              map,
              bytes,
              2,
              address,
              sizes,
              strides,
              box,
              steps,
              noInterleave,
              swizzle128,
              promote256,
              zeros);
    } catch (Throwable e) {
      throw new AssertionError("a downcall of cuTensorMapEncodeTiled throws nothing", e);
    }
  }
}
