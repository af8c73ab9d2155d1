package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;

/**
 * Turns eight rows of terms of four bytes into eight columns of a packed strip, 8 x 8 terms at a
 * time: what the right-hand side of a product goes through when its terms lie in memory as the
 * kernel wants them.
 */
public final class TurnKernel {
  /** Rows that are turned together, and terms of a block. */
  public static final int SIDE = 8;

  private static final FunctionDescriptor TYPE =
      FunctionDescriptor.ofVoid(
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG);

  private final MethodHandle function;

  /**
   * Assembles the kernel.
   *
   * @param columns columns of a strip: the distance of two terms of a column
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public TurnKernel(int columns) throws ExecutableMemory.Refused {
    function = ExecutableMemory.function(code(columns * Float.BYTES), TYPE);
  }

  /**
   * Turns {@code 8 * blocks} terms of eight rows.
   *
   * @param blocks at least 1
   * @param from the first row, {@code stride} bytes from the next
   * @param to the first term of the first column
   */
  public void turn(long blocks, MemorySegment from, long stride, MemorySegment to) {
    try {
      turn(blocks, from.address(), stride, to.address());
    } finally {
      Reference.reachabilityFence(from);
      Reference.reachabilityFence(to);
    }
  }

  /** The same by addresses; the caller keeps the memory alive. */
  public void turn(long blocks, long from, long stride, long to) {
    try {
      function.invokeExact(blocks, from, stride, to);
    } catch (Throwable thrown) {
      throw new IllegalStateException("the packing kernel failed", thrown);
    }
  }

  /** rdi blocks, rsi from, rdx stride, rcx to; r8 three strides, r9 the fifth row. */
  private static byte[] code(int termBytes) {
    Assembler code = new Assembler();
    code.triple(Reg.R8, Reg.RDX);
    code.move(Reg.R9, Reg.RSI);
    code.add(Reg.R9, Reg.R8);
    code.add(Reg.R9, Reg.RDX);
    int block = code.here();
    for (int half = 0; half < 2; half++) {
      half(code, 16 * half, 4 * half * termBytes, termBytes);
    }
    code.add(Reg.RSI, SIDE * Float.BYTES);
    code.add(Reg.R9, SIDE * Float.BYTES);
    code.add(Reg.RCX, SIDE * termBytes);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  /** Four terms of eight rows: registers 0 to 3 hold rows i and i + 4. */
  private static void half(Assembler code, int from, int to, int termBytes) {
    for (int row = 0; row < 4; row++) {
      code.vector(Op.VMOVUPS, 128, row, 0, Mem.inRow(Reg.RSI, Reg.RDX, Reg.R8, row, from));
      code.upperHalf(row, Mem.inRow(Reg.R9, Reg.RDX, Reg.R8, row, from));
    }
    code.vector(Op.VUNPCKLPS, 256, 4, 0, 1);
    code.vector(Op.VUNPCKHPS, 256, 5, 0, 1);
    code.vector(Op.VUNPCKLPS, 256, 6, 2, 3);
    code.vector(Op.VUNPCKHPS, 256, 7, 2, 3);
    for (int term = 0; term < 4; term++) {
      Op pairs = term % 2 == 0 ? Op.VUNPCKLPD : Op.VUNPCKHPD;
      code.vector(pairs, 256, 8 + term, 4 + term / 2, 6 + term / 2);
      code.vector(Op.VMOVUPS_STORE, 256, 8 + term, Reg.RCX, to + term * termBytes);
    }
  }
}
