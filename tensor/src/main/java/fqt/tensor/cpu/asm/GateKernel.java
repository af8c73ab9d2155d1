package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Activations that let through a part of x: {@code x / (1 + e^−(a x + b x³)) * up}. With a = 1 and
 * b = 0 it is SiLU, with a = 1.702 the quick form of GELU, with a = 2 √(2/π) and b = 0.044715 a the
 * one with a hyperbolic tangent.
 */
public final class GateKernel {
  private static final FunctionDescriptor TYPE =
      FunctionDescriptor.ofVoid(
          ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS);

  /** e to its power is infinite, and the kernel of the exponential still right. */
  private static final float MOST = 89;

  private final MethodHandle plain;
  private final MethodHandle gated;

  /**
   * Assembles the kernel of one activation.
   *
   * @param bits width of the vectors, 256 or 512
   * @param linear a
   * @param cubic b
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public GateKernel(int bits, float linear, float cubic) throws ExecutableMemory.Refused {
    plain = ExecutableMemory.function(code(bits, linear, cubic, false), TYPE);
    gated = ExecutableMemory.function(code(bits, linear, cubic, true), TYPE);
  }

  /**
   * The activation of x, times up unless that is null.
   *
   * @param vectors at least 1
   * @param out may be x or up
   */
  public void run(long vectors, MemorySegment x, MemorySegment up, MemorySegment out) {
    try {
      if (up == null) {
        plain.invokeExact(vectors, x, x, out);
      } else {
        gated.invokeExact(vectors, x, up, out);
      }
    } catch (Throwable thrown) {
      throw new IllegalStateException("the kernel of activations failed", thrown);
    }
  }

  /** rdi vectors, rsi x, rdx up, rcx out; −b stands below the stack. */
  private static byte[] code(int bits, float linear, float cubic, boolean gated) {
    int bytes = bits / 8;
    int factor = 3;
    int most = 4;
    Assembler code = new Assembler();
    Exponential.constants(code, bits);
    Exponential.broadcast(code, bits, factor, -linear);
    Exponential.broadcast(code, bits, most, MOST);
    code.move(Reg.RAX, Float.floatToRawIntBits(-cubic));
    code.storeInt(Reg.RAX, Reg.RSP, -16);
    int vector = code.here();
    code.vector(Op.VMOVUPS, bits, 0, Reg.RSI, 0);
    if (cubic == 0) {
      code.vector(Op.VMULPS, bits, 0, 0, factor);
    } else {
      code.vector(Op.VBROADCASTSS, bits, 2, Reg.RSP, -16);
      code.vector(Op.VMULPS, bits, 1, 0, 0);
      code.vector(Op.VFMADD213PS, bits, 1, 2, factor);
      code.vector(Op.VMULPS, bits, 0, 0, 1);
    }
    code.vector(Op.VMINPS, bits, 0, most, 0);
    Exponential.emit(code, bits, 0, 1, 2);
    code.vector(Op.VADDPS, bits, 2, 2, Exponential.ONE);
    code.vector(Op.VMOVUPS, bits, 0, Reg.RSI, 0);
    code.vector(Op.VDIVPS, bits, 0, 0, 2);
    if (gated) {
      code.vector(Op.VMULPS, bits, 0, 0, Reg.RDX, 0);
      code.add(Reg.RDX, bytes);
    }
    code.vector(Op.VMOVUPS_STORE, bits, 0, Reg.RCX, 0);
    code.add(Reg.RSI, bytes);
    code.add(Reg.RCX, bytes);
    code.decrement(Reg.RDI);
    code.jumpNotZero(vector);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
