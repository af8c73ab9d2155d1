package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;
import java.util.function.IntFunction;

/** Turns squares of 8 x 8 elements of four bytes on their side, from any strides to any. */
public final class SquareKernel {
  /** Elements of a side. */
  public static final int SIDE = 8;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public SquareKernel() throws ExecutableMemory.Refused {
    function = new MachineFunction(10, code());
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
    function.call(
        squares,
        address(from),
        source.stride(),
        source.step(),
        address(to),
        target.stride(),
        target.step(),
        runs,
        back,
        toBack);
    keep(from, to);
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
    half(code, 4 * Float.BYTES, Reg.R12);
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

  private static void half(Assembler code, int at, Reg to) {
    IntFunction<Mem> column = i -> Mem.inRow(to, Reg.R9, Reg.RBX, i, 0);
    half(code, Reg.RSI, Reg.R11, Reg.RDX, Reg.RAX, at, column);
  }

  private static void advance(Assembler code, Reg source, Reg target) {
    code.add(Reg.RSI, source);
    code.add(Reg.R11, source);
    code.add(Reg.R8, target);
    code.add(Reg.R12, target);
  }

  /**
   * Loads half a square, four elements of eight rows, and stores it as four columns.
   *
   * @param first where the first row is, {@code stride} from the next
   * @param fifth where the fifth is
   * @param threefold three strides
   * @param at the first element, in bytes from the beginning of its row
   * @param column where each of the four columns goes
   */
  static void half(
      Assembler code,
      Reg first,
      Reg fifth,
      Reg stride,
      Reg threefold,
      int at,
      IntFunction<Mem> column) {
    for (int row = 0; row < 4; row++) {
      code.vector(Op.VMOVUPS, 128, row, 0, Mem.inRow(first, stride, threefold, row, at));
      code.upperHalf(row, Mem.inRow(fifth, stride, threefold, row, at));
    }
    code.vector(Op.VUNPCKLPS, 256, 4, 0, 1);
    code.vector(Op.VUNPCKHPS, 256, 5, 0, 1);
    code.vector(Op.VUNPCKLPS, 256, 6, 2, 3);
    code.vector(Op.VUNPCKHPS, 256, 7, 2, 3);
    for (int i = 0; i < 4; i++) {
      Op pairs = i % 2 == 0 ? Op.VUNPCKLPD : Op.VUNPCKHPD;
      code.vector(pairs, 256, 8 + i, 4 + i / 2, 6 + i / 2);
      code.vector(Op.VMOVUPS_STORE, 256, 8 + i, 0, column.apply(i));
    }
  }
}
