package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;
import java.util.function.IntFunction;

/**
 * Turns eight rows of terms of four bytes into eight columns of a packed strip, 8 x 8 terms at a
 * time: what the right-hand side of a product goes through when its terms lie in memory as the
 * kernel wants them.
 */
public final class TurnKernel {
  /** Rows that are turned together, and terms of a block. */
  public static final int SIDE = SquareKernel.SIDE;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param columns columns of a strip: the distance of two terms of a column
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public TurnKernel(int columns) throws ExecutableMemory.Refused {
    function = new MachineFunction(4, code(columns * Float.BYTES));
  }

  /**
   * Turns {@code 8 * blocks} terms of eight rows.
   *
   * @param blocks at least 1
   * @param from the first row, {@code stride} bytes from the next
   * @param to the first term of the first column
   */
  public void turn(long blocks, MemorySegment from, long stride, MemorySegment to) {
    turn(blocks, address(from), stride, address(to));
    keep(from, to);
  }

  /** The same by addresses; the caller keeps the memory alive. */
  public void turn(long blocks, long from, long stride, long to) {
    function.call(blocks, from, stride, to);
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
      int first = 4 * half;
      IntFunction<Mem> term = i -> Mem.at(Reg.RCX, (first + i) * termBytes);
      SquareKernel.half(code, Reg.RSI, Reg.R9, Reg.RDX, Reg.R8, first * Float.BYTES, term);
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
}
