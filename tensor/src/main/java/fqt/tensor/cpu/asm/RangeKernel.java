package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/** The smallest and the largest of a run of F32, 32 numbers at a time. */
public final class RangeKernel {
  /** Numbers that are worked on together. */
  public static final int BLOCK = 32;

  /** Bytes of the result: eight smallest numbers, eight largest ones, eight flags. */
  public static final int RESULT_BYTES = 96;

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public RangeKernel() throws ExecutableMemory.Refused {
    function = new MachineFunction(4, code());
  }

  /**
   * Goes through a run. The result is that of the run if all flags are 0; they are NaN if it holds
   * a NaN or an infinity.
   *
   * @param blocks at least 1
   * @param next address of what will be wanted next, of which half as many bytes are asked for as x
   *     has; nothing is read there
   */
  public void range(long blocks, MemorySegment x, MemorySegment result, long next) {
    function.call(blocks, address(x), address(result), next);
    keep(x, result);
  }

  /**
   * rdi blocks, rsi x, rdx result, rcx next; four sums of numbers times zero, each of which waits
   * for its last one.
   */
  private static byte[] code() {
    int smallest = 4;
    int largest = 5;
    int flags = 6;
    int zero = 10;
    Assembler code = new Assembler();
    code.vector(Op.VXORPS, BITS, zero, zero, zero);
    for (int i = 0; i < 4; i++) {
      code.vector(Op.VXORPS, BITS, flags + i, flags + i, flags + i);
    }
    code.vector(Op.VMOVUPS, BITS, smallest, Reg.RSI, 0);
    code.vector(Op.VMOVUPS, BITS, largest, 0, smallest);
    int block = code.here();
    code.prefetch(Mem.at(Reg.RCX, 0));
    for (int v = 0; v < 4; v++) {
      code.vector(Op.VMOVUPS, BITS, v, Reg.RSI, v * BYTES);
      code.vector(Op.VMINPS, BITS, smallest, smallest, v);
      code.vector(Op.VMAXPS, BITS, largest, largest, v);
      code.vector(Op.VFMADD231PS, BITS, flags + v, v, zero);
    }
    code.add(Reg.RSI, 4 * BYTES);
    code.add(Reg.RCX, 2 * BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    for (int i = 1; i < 4; i++) {
      code.vector(Op.VADDPS, BITS, flags, flags, flags + i);
    }
    for (int i = 0; i < 3; i++) {
      code.vector(Op.VMOVUPS_STORE, BITS, smallest + i, Reg.RDX, i * BYTES);
    }
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
