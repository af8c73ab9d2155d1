package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * Activations that let through a part of x: {@code x / (1 + e^−(a x + b x³)) * up}. With a = 1 and
 * b = 0 it is SiLU, with a = 1.702 the quick form of GELU, with a = 2 √(2/π) and b = 0.044715 a the
 * one with a hyperbolic tangent.
 */
public final class GateKernel {
  /** e to its power is infinite, and the kernel of the exponential still right. */
  private static final float MOST = 89;

  private final MachineFunction plain;
  private final MachineFunction plainFar;
  private final MachineFunction gated;
  private final MachineFunction gatedFar;

  /**
   * Assembles the kernel of one activation.
   *
   * @param bits width of the vectors, 256 or 512
   * @param linear a
   * @param cubic b
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public GateKernel(int bits, float linear, float cubic) throws ExecutableMemory.Refused {
    plain = function(bits, linear, cubic, false, Store.NEAR);
    plainFar = function(bits, linear, cubic, false, Store.FAR);
    gated = function(bits, linear, cubic, true, Store.NEAR);
    gatedFar = function(bits, linear, cubic, true, Store.FAR);
  }

  private static MachineFunction function(
      int bits, float linear, float cubic, boolean gated, Store store)
      throws ExecutableMemory.Refused {
    return new MachineFunction(4, code(bits, linear, cubic, gated, store));
  }

  /**
   * The activation of x, times up unless that is null.
   *
   * @param vectors at least 1
   * @param out may be x or up
   * @param store FAR only if out begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void run(long vectors, MemorySegment x, MemorySegment up, MemorySegment out, Store store) {
    if (up == null) {
      (store == Store.FAR ? plainFar : plain).call(vectors, address(x), 0, address(out));
    } else {
      (store == Store.FAR ? gatedFar : gated).call(vectors, address(x), address(up), address(out));
    }
    keep(x, up, out);
  }

  /** rdi vectors, rsi x, rdx up, rcx out; on the stack 1, −a and −b in all lanes. */
  private static byte[] code(int bits, float linear, float cubic, boolean gated, Store store) {
    int bytes = bits / 8;
    int most = Exponential.FREE;
    int stack = 4 * bytes;
    Mem one = Mem.at(Reg.RSP, 0);
    Mem factor = Mem.at(Reg.RSP, bytes);
    Mem cube = Mem.at(Reg.RSP, 2 * bytes);
    Assembler code = new Assembler();
    code.add(Reg.RSP, -stack);
    float[] constants = {1, -linear, -cubic};
    for (int i = 0; i < constants.length; i++) {
      Exponential.broadcast(code, bits, 0, constants[i]);
      code.vector(Op.VMOVUPS_STORE, bits, 0, Reg.RSP, i * bytes);
    }
    Exponential.constants(code, bits);
    Exponential.broadcast(code, bits, most, MOST);
    int vector = code.here();
    code.vector(Op.VMOVUPS, bits, 0, Reg.RSI, 0);
    if (cubic == 0) {
      code.vector(Op.VMULPS, bits, 0, 0, factor);
    } else {
      code.vector(Op.VMULPS, bits, 1, 0, 0);
      code.vector(Op.VMULPS, bits, 1, 1, cube);
      code.vector(Op.VADDPS, bits, 1, 1, factor);
      code.vector(Op.VMULPS, bits, 0, 0, 1);
    }
    code.vector(Op.VMINPS, bits, 0, most, 0);
    Exponential.emitAll(code, bits, one);
    code.vector(Op.VADDPS, bits, 2, 2, one);
    code.vector(Op.VMOVUPS, bits, 0, Reg.RSI, 0);
    code.vector(Op.VDIVPS, bits, 0, 0, 2);
    if (gated) {
      code.vector(Op.VMULPS, bits, 0, 0, Reg.RDX, 0);
      code.add(Reg.RDX, bytes);
    }
    store.emit(code, bits, 0, Reg.RCX, 0);
    code.add(Reg.RSI, bytes);
    code.add(Reg.RCX, bytes);
    code.decrement(Reg.RDI);
    code.jumpNotZero(vector);
    code.add(Reg.RSP, stack);
    store.end(code);
    return code.bytes();
  }
}
