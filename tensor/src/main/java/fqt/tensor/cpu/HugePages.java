package fqt.tensor.cpu;

import static java.lang.System.Logger.Level.DEBUG;
import static java.lang.System.Logger.Level.WARNING;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Memory in pages of 2 MiB where Linux has them to give. With pages of 4 KiB it is chance which
 * lines of the second-level cache a packed block falls on, and some JVMs are unlucky for as long as
 * they live; and a large product needs more pages than the processor remembers.
 */
final class HugePages {
  /** Bytes of a page, and from how many on memory comes in them. */
  static final long SIZE = 2L << 20;

  private static final System.Logger LOG = System.getLogger("fqt.tensor");
  private static final int READ_WRITE = 3;
  private static final int PRIVATE_ANONYMOUS = 0x22;
  private static final int WANT_HUGE_PAGES = 14;
  private static final Calls CALLS = Calls.find();

  private HugePages() {}

  private record Calls(MethodHandle map, MethodHandle unmap, MethodHandle advise) {
    /** Null where the system is another, or native calls are denied. */
    static Calls find() {
      String system = System.getProperty("os.name") + " on " + System.getProperty("os.arch");
      if (!system.equals("Linux on amd64")) {
        return null;
      }
      ValueLayout.OfLong word = ValueLayout.JAVA_LONG;
      ValueLayout.OfInt flags = ValueLayout.JAVA_INT;
      try {
        return new Calls(
            handle("mmap", FunctionDescriptor.of(word, word, word, flags, flags, flags, word)),
            handle("munmap", FunctionDescriptor.of(flags, word, word)),
            handle("madvise", FunctionDescriptor.of(flags, word, word, flags)));
      } catch (IllegalCallerException denied) {
        return null;
      }
    }

    private static MethodHandle handle(String name, FunctionDescriptor type) {
      Linker linker = Linker.nativeLinker();
      SymbolLookup system = linker.defaultLookup();
      return linker.downcallHandle(system.findOrThrow(name), type);
    }
  }

  /** Memory of undefined contents that an arena frees; aligned to at least {@code alignment}. */
  static MemorySegment allocate(Arena arena, long bytes, long alignment) {
    MemorySegment huge = CALLS == null || bytes < SIZE ? null : map(arena, bytes);
    return huge == null ? arena.allocate(bytes, alignment) : huge;
  }

  private static MemorySegment map(Arena arena, long bytes) {
    long mapped = Math.ceilDiv(bytes, SIZE) * SIZE + SIZE;
    try {
      long start = (long) CALLS.map.invokeExact(0L, mapped, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0L);
      if (start == -1) {
        return null;
      }
      long aligned = Math.ceilDiv(start, SIZE) * SIZE;
      // Whole pages only: the rest of the last one would be memory that nobody asked for.
      int granted = (int) CALLS.advise.invokeExact(aligned, bytes / SIZE * SIZE, WANT_HUGE_PAGES);
      if (granted != 0) {
        LOG.log(DEBUG, "no pages of 2 MiB for {0} bytes", bytes);
      }
      return MemorySegment.ofAddress(aligned)
          .reinterpret(bytes, arena, memory -> unmap(start, mapped));
    } catch (RuntimeException | Error thrown) {
      throw thrown;
    } catch (Throwable thrown) {
      throw new IllegalStateException("mmap failed", thrown);
    }
  }

  private static void unmap(long start, long bytes) {
    try {
      int failed = (int) CALLS.unmap.invokeExact(start, bytes);
      if (failed != 0) {
        LOG.log(WARNING, "munmap of {0} bytes failed", bytes);
      }
    } catch (RuntimeException | Error thrown) {
      throw thrown;
    } catch (Throwable thrown) {
      throw new IllegalStateException("munmap failed", thrown);
    }
  }
}
