package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/** Copies memory past the caches. */
public final class StreamKernel {
  /** Bytes that are copied together. */
  public static final int BLOCK = 128;

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public StreamKernel() throws ExecutableMemory.Refused {
    function = new MachineFunction(3, code());
  }

  /**
   * Copies.
   *
   * @param blocks at least 1
   * @param to at a multiple of {@link Store#ALIGNMENT}
   */
  public void copy(long blocks, MemorySegment from, MemorySegment to) {
    function.call(blocks, address(from), address(to));
    keep(from, to);
  }

  /** rdi blocks, rsi from, rdx to. */
  private static byte[] code() {
    Assembler code = new Assembler();
    int block = code.here();
    Store.FAR.ask(code, Reg.RSI, BLOCK);
    for (int v = 0; v < BLOCK / BYTES; v++) {
      code.vector(Op.VMOVUPS, BITS, v, Reg.RSI, v * BYTES);
    }
    for (int v = 0; v < BLOCK / BYTES; v++) {
      Store.FAR.emit(code, BITS, v, Reg.RDX, v * BYTES);
    }
    code.add(Reg.RSI, BLOCK);
    code.add(Reg.RDX, BLOCK);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    Store.FAR.end(code);
    return code.bytes();
  }
}
