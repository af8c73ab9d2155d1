package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Turns f16 into f32, eight at a time: the scales of a weight on their way to its kernel. */
public final class WidenKernel {
  /** Numbers that are turned together. */
  public static final int BLOCK = 8;

  private static final FunctionDescriptor TYPE =
      FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.ADDRESS);

  /** How far ahead numbers are asked for, in bytes: between two calls others use the memory. */
  private static final int AHEAD = 1024;

  private final MethodHandle function;

  /**
   * Assembles the kernel.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public WidenKernel() throws ExecutableMemory.Refused {
    function = ExecutableMemory.function(code(), TYPE);
  }

  /**
   * Turns {@code 8 * blocks} numbers.
   *
   * @param blocks at least 1
   */
  public void widen(long blocks, MemorySegment from, MemorySegment to) {
    try {
      function.invokeExact(blocks, from, to);
    } catch (Throwable thrown) {
      throw new IllegalStateException("the kernel of f16 failed", thrown);
    }
  }

  /** rdi blocks, rsi from, rdx to. */
  private static byte[] code() {
    Assembler code = new Assembler();
    int block = code.here();
    code.prefetch(Mem.at(Reg.RSI, AHEAD));
    code.vector(Op.VCVTPH2PS, 256, 0, 0, Mem.at(Reg.RSI, 0));
    code.vector(Op.VMOVUPS_STORE, 256, 0, Reg.RDX, 0);
    code.add(Reg.RSI, BLOCK * Short.BYTES);
    code.add(Reg.RDX, BLOCK * Float.BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
