package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * Memory that ends where memory ends: the page behind it cannot be read or written, so that machine
 * code that does so stops the test run. Linux only.
 */
final class GuardedPages implements AutoCloseable {
  private static final long PAGE = 4096;
  private static final int READ_WRITE = 3;
  private static final int PRIVATE_ANONYMOUS = 0x22;
  private static final MethodHandle MAP =
      handle(
          "mmap",
          FunctionDescriptor.of(
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG));
  private static final MethodHandle PROTECT =
      handle(
          "mprotect",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_INT));
  private static final MethodHandle UNMAP =
      handle(
          "munmap",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));

  private final List<MemorySegment> mapped = new ArrayList<>();

  /** A contiguous copy whose last byte is the last before the guard. */
  Tensor copy(Tensor x) {
    long size = x.count() * x.dtype().byteSize();
    long pages = Math.ceilDiv(size, PAGE) * PAGE;
    MemorySegment all = map(pages + PAGE);
    mapped.add(all);
    try {
      int result = (int) PROTECT.invokeExact(all.address() + pages, PAGE, 0);
      if (result != 0) {
        throw new IllegalStateException("mprotect failed");
      }
    } catch (Throwable thrown) {
      throw new IllegalStateException("no guard page", thrown);
    }
    Tensor copy = Tensor.of(all.asSlice(pages - size, size), x.dtype(), x.shape());
    ScalarCopy.copy(x, copy);
    return copy;
  }

  private static MemorySegment map(long size) {
    try {
      long address = (long) MAP.invokeExact(0L, size, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0L);
      if (address == -1) {
        throw new IllegalStateException("mmap of " + size + " bytes failed");
      }
      return MemorySegment.ofAddress(address).reinterpret(size);
    } catch (Throwable thrown) {
      throw new IllegalStateException("no memory", thrown);
    }
  }

  @Override
  public void close() {
    for (MemorySegment all : mapped) {
      try {
        int result = (int) UNMAP.invokeExact(all.address(), all.byteSize());
        if (result != 0) {
          throw new IllegalStateException("munmap failed");
        }
      } catch (Throwable thrown) {
        throw new IllegalStateException("memory stays", thrown);
      }
    }
  }

  private static MethodHandle handle(String name, FunctionDescriptor type) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), type);
  }
}
