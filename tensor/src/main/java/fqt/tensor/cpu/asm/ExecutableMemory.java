package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;

/**
 * Pages of machine code. They live until the JVM ends. They are mapped writable, filled, and then
 * made executable and read-only: no page is ever writable and executable.
 */
public final class ExecutableMemory {
  private static final int READ = 1;
  private static final int WRITE = 2;
  private static final int EXECUTE = 4;
  private static final int PRIVATE_ANONYMOUS = 0x22;

  private ExecutableMemory() {}

  /** Why machine code cannot run in this JVM. */
  public static final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    /** With one sentence of reason; the cause may be null. */
    public Refused(String reason, Throwable cause) {
      super(reason, cause);
    }
  }

  /**
   * New pages with some machine code at their beginning.
   *
   * @throws Refused if this is not Linux on x86-64, or the system or the JVM does not allow it
   */
  static MemorySegment holding(byte[] code) throws Refused {
    String system = System.getProperty("os.name") + " on " + System.getProperty("os.arch");
    if (!system.equals("Linux on amd64")) {
      throw new Refused("machine code is for Linux on amd64; this is " + system, null);
    }
    try {
      MemorySegment pages = map(code.length);
      MemorySegment.copy(code, 0, pages, ValueLayout.JAVA_BYTE, 0, code.length);
      protect(pages);
      return pages;
    } catch (IllegalCallerException denied) {
      throw new Refused("native access is denied: " + denied.getMessage(), denied);
    }
  }

  private static MemorySegment map(long size) throws Refused {
    FunctionDescriptor type =
        FunctionDescriptor.of(
            ValueLayout.ADDRESS,
            ValueLayout.ADDRESS,
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_LONG);
    Object pages =
        call("mmap", type, MemorySegment.NULL, size, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0L);
    MemorySegment start = (MemorySegment) pages;
    if (start.address() == -1) {
      throw new Refused("mmap of " + size + " bytes failed", null);
    }
    return start.reinterpret(size);
  }

  private static void protect(MemorySegment pages) throws Refused {
    FunctionDescriptor type =
        FunctionDescriptor.of(
            ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT);
    Object result = call("mprotect", type, pages, pages.byteSize(), READ | EXECUTE);
    if ((int) result != 0) {
      throw new Refused("the system does not allow executable memory (mprotect failed)", null);
    }
  }

  private static Object call(String name, FunctionDescriptor type, Object... arguments) {
    Linker linker = Linker.nativeLinker();
    SymbolLookup system = linker.defaultLookup();
    try {
      return linker.downcallHandle(system.findOrThrow(name), type).invokeWithArguments(arguments);
    } catch (RuntimeException | Error thrown) {
      throw thrown;
    } catch (Throwable thrown) {
      throw new IllegalStateException(name + " failed", thrown);
    }
  }
}
