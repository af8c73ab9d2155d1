package fqt.tensor.cpu.asm;

/** Widens rows of I8 to i16: what the left side of a product of pairs goes through. */
public final class SpreadKernel {
  /** Numbers that are widened together. */
  public static final int BLOCK = 16;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public SpreadKernel() throws ExecutableMemory.Refused {
    function = new MachineFunction(6, code());
  }

  /**
   * Widens {@code 16 * blocks} numbers of each row. Places are addresses; the caller keeps the
   * memory alive.
   *
   * @param blocks at least 1
   * @param rows at least 1
   * @param from the first row
   * @param stride distance of two rows, in bytes
   * @param to the first row of numbers of two bytes
   * @param pitch distance of two of these, in bytes
   */
  public void spread(long blocks, long rows, long from, long stride, long to, long pitch) {
    function.call(blocks, rows, from, stride, to, pitch);
  }

  /** rdi blocks, rsi rows, rdx from, rcx stride, r8 to, r9 pitch. */
  private static byte[] code() {
    Assembler code = new Assembler();
    int row = code.here();
    code.move(Reg.RAX, Reg.RDI);
    code.move(Reg.R10, Reg.RDX);
    code.move(Reg.R11, Reg.R8);
    int block = code.here();
    code.prefetch(Mem.at(Reg.R10, Reg.RCX, 1, 0));
    code.vector(Op.VPMOVSXBW, 256, 0, Reg.R10, 0);
    code.vector(Op.VMOVUPS_STORE, 256, 0, Reg.R11, 0);
    code.add(Reg.R10, BLOCK);
    code.add(Reg.R11, 2 * BLOCK);
    code.decrement(Reg.RAX);
    code.jumpNotZero(block);
    code.add(Reg.RDX, Reg.RCX);
    code.add(Reg.R8, Reg.R9);
    code.decrement(Reg.RSI);
    code.jumpNotZero(row);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
