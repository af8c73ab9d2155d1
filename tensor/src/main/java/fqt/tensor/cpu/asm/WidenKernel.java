package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * Turns numbers into f32 and multiplies them by others, eight at a time: the scales of a weight on
 * their way to its kernel.
 */
public final class WidenKernel {
  /** Numbers that are turned together. */
  public static final int BLOCK = 8;

  /** What the numbers are. */
  public enum Kind {
    /** f32. */
    F32(4),
    /** f16. */
    F16(2),
    /** bf16. */
    BF16(2);

    /** Bytes of a number. */
    public final int bytes;

    Kind(int bytes) {
      this.bytes = bytes;
    }
  }

  /** How far ahead numbers are asked for, in bytes: between two calls others use the memory. */
  private static final int AHEAD = 1024;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param kind what the numbers are
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public WidenKernel(Kind kind) throws ExecutableMemory.Refused {
    function = new MachineFunction(4, code(kind));
  }

  /**
   * Turns {@code 8 * blocks} numbers.
   *
   * @param blocks at least 1
   * @param from the numbers
   * @param times F32, what each is multiplied by
   * @param to F32
   */
  public void widen(long blocks, MemorySegment from, MemorySegment times, MemorySegment to) {
    function.call(blocks, address(from), address(times), address(to));
    keep(from, times, to);
  }

  /** rdi blocks, rsi from, rdx times, rcx to. */
  private static byte[] code(Kind kind) {
    Assembler code = new Assembler();
    int block = code.here();
    code.prefetch(Mem.at(Reg.RSI, AHEAD));
    switch (kind) {
      case F32 -> code.vector(Op.VMOVUPS, 256, 0, Reg.RSI, 0);
      case F16 -> code.vector(Op.VCVTPH2PS, 256, 0, 0, Mem.at(Reg.RSI, 0));
      case BF16 -> {
        code.vector(Op.VPMOVZXWD, 256, 0, 0, Mem.at(Reg.RSI, 0));
        code.shift(Op.VPSLLD, 256, 0, 0, 16);
      }
    }
    code.vector(Op.VMULPS, 256, 0, 0, Reg.RDX, 0);
    code.vector(Op.VMOVUPS_STORE, 256, 0, Reg.RCX, 0);
    code.add(Reg.RSI, BLOCK * kind.bytes);
    code.add(Reg.RDX, BLOCK * Float.BYTES);
    code.add(Reg.RCX, BLOCK * Float.BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
