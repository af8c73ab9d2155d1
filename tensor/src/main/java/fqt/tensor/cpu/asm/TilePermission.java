package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Leave to use AMX. Linux keeps the eight kilobytes of tiles for a process only after it has asked
 * for them (Documentation/arch/x86/xstate.rst); the answer holds for all its threads.
 */
final class TilePermission {
  private static final long ARCH_PRCTL = 158;
  private static final long REQUEST_STATE = 0x1023;
  private static final long TILE_DATA = 18;

  private TilePermission() {}

  /** Asks the system; whether it grants the tiles. */
  static boolean request() {
    Linker linker = Linker.nativeLinker();
    MemorySegment function = linker.defaultLookup().find("syscall").orElse(null);
    if (function == null) {
      return false;
    }
    FunctionDescriptor type =
        FunctionDescriptor.of(
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_LONG,
            ValueLayout.JAVA_LONG);
    MethodHandle syscall = linker.downcallHandle(function, type, Linker.Option.firstVariadicArg(1));
    try {
      return (long) syscall.invokeExact(ARCH_PRCTL, REQUEST_STATE, TILE_DATA) == 0;
    } catch (Throwable thrown) {
      throw new IllegalStateException("syscall failed", thrown);
    }
  }
}
