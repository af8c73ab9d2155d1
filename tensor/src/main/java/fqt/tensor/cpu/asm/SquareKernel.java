package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Turns squares of 8 x 8 elements of four bytes on their side, from any strides to any. */
public final class SquareKernel {
  /** Elements of a side. */
  public static final int SIDE = 8;

  private static final FunctionDescriptor TYPE =
      FunctionDescriptor.ofVoid(
          ValueLayout.JAVA_LONG,
          ValueLayout.ADDRESS,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.ADDRESS,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG);

  private final MethodHandle function;

  /**
   * Assembles the kernel.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public SquareKernel() throws ExecutableMemory.Refused {
    function = ExecutableMemory.function(code(), TYPE);
  }

  /**
   * Where squares lie: some runs of some squares.
   *
   * @param stride from a row of a square to the next, in bytes
   * @param step from a square to the next of its run, in bytes
   * @param runStep from a run to the next, in bytes
   */
  public record Layout(long stride, long step, long runStep) {}

  /**
   * Row i, column j of each square becomes row j, column i.
   *
   * @param runs at least 1
   * @param squares of a run, at least 1
   * @param from the first square
   * @param source the layout of squares there
   * @param to the first square, turned
   * @param target the layout of squares there
   */
  public void turn(
      long runs, long squares, MemorySegment from, Layout source, MemorySegment to, Layout target) {
    long back = source.runStep() - squares * source.step();
    long toBack = target.runStep() - squares * target.step();
    try {
      function.invokeExact(
          squares,
          from,
          source.stride(),
          source.step(),
          to,
          target.stride(),
          target.step(),
          runs,
          back,
          toBack);
    } catch (Throwable thrown) {
      throw new IllegalStateException("the kernel that turns squares failed", thrown);
    }
  }

  /**
   * rdi squares, rsi from, rdx stride, rcx step, r8 to, r9 its stride, r10 its step; the fifth rows
   * in r11 and r12, threefold strides in rax and rbx; r13 runs, r14 and r15 from the end of a run
   * to the next.
   */
  private static byte[] code() {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.R10, Reg.RSP, Assembler.STACK_ARGUMENTS);
    code.load(Reg.R13, Reg.RSP, Assembler.STACK_ARGUMENTS + Long.BYTES);
    code.load(Reg.R14, Reg.RSP, Assembler.STACK_ARGUMENTS + 2 * Long.BYTES);
    code.load(Reg.R15, Reg.RSP, Assembler.STACK_ARGUMENTS + 3 * Long.BYTES);
    code.triple(Reg.RAX, Reg.RDX);
    code.triple(Reg.RBX, Reg.R9);
    code.move(Reg.R11, Reg.RSI);
    code.add(Reg.R11, Reg.RAX);
    code.add(Reg.R11, Reg.RDX);
    code.move(Reg.R12, Reg.R8);
    code.add(Reg.R12, Reg.RBX);
    code.add(Reg.R12, Reg.R9);
    int run = code.here();
    code.move(Reg.RBP, Reg.RDI);
    int square = code.here();
    half(code, 0, Reg.R8);
    half(code, 16, Reg.R12);
    advance(code, Reg.RCX, Reg.R10);
    code.decrement(Reg.RBP);
    code.jumpNotZero(square);
    advance(code, Reg.R14, Reg.R15);
    code.decrement(Reg.R13);
    code.jumpNotZero(run);
    code.vzeroupper();
    code.restoreAllAndReturn();
    return code.bytes();
  }

  private static void advance(Assembler code, Reg source, Reg target) {
    code.add(Reg.RSI, source);
    code.add(Reg.R11, source);
    code.add(Reg.R8, target);
    code.add(Reg.R12, target);
  }

  /** Four columns of a square: registers 0 to 3 hold rows i and i + 4. */
  private static void half(Assembler code, int from, Reg to) {
    for (int row = 0; row < 4; row++) {
      code.vector(Op.VMOVUPS, 128, row, 0, Mem.inRow(Reg.RSI, Reg.RDX, Reg.RAX, row, from));
      code.upperHalf(row, Mem.inRow(Reg.R11, Reg.RDX, Reg.RAX, row, from));
    }
    code.vector(Op.VUNPCKLPS, 256, 4, 0, 1);
    code.vector(Op.VUNPCKHPS, 256, 5, 0, 1);
    code.vector(Op.VUNPCKLPS, 256, 6, 2, 3);
    code.vector(Op.VUNPCKHPS, 256, 7, 2, 3);
    for (int column = 0; column < 4; column++) {
      Op pairs = column % 2 == 0 ? Op.VUNPCKLPD : Op.VUNPCKHPD;
      code.vector(pairs, 256, 8 + column, 4 + column / 2, 6 + column / 2);
      Mem place = Mem.inRow(to, Reg.R9, Reg.RBX, column, 0);
      code.vector(Op.VMOVUPS_STORE, 256, 8 + column, 0, place);
    }
  }
}
