package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Turns a strip of I32 sums into results: {@code out[r][c] = (sum[r][c] - excess[c]) * (rowScale[r]
 * * scale[c]) + bias[c]}, each step rounded once, as its scalar twin does it.
 */
public final class ScaleKernel {
  private static final int SCALES = 0;
  private static final int EXCESS = 2;
  private static final int BIAS = 4;

  private static final FunctionDescriptor TYPE =
      FunctionDescriptor.ofVoid(
          ValueLayout.JAVA_LONG,
          ValueLayout.ADDRESS,
          ValueLayout.ADDRESS,
          ValueLayout.JAVA_LONG,
          ValueLayout.ADDRESS,
          ValueLayout.ADDRESS,
          ValueLayout.ADDRESS,
          ValueLayout.ADDRESS);

  private final MethodHandle plain;
  private final MethodHandle biased;

  /**
   * Assembles the kernel.
   *
   * @param bits width of the vectors, 256 or 512; a strip is two vectors wide
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public ScaleKernel(int bits) throws ExecutableMemory.Refused {
    plain = ExecutableMemory.function(code(bits, false), TYPE);
    biased = ExecutableMemory.function(code(bits, true), TYPE);
  }

  /**
   * Scales some rows.
   *
   * @param rows at least 1
   * @param sums rows of a strip, side by side
   * @param out the first result
   * @param stride distance of two rows of the result, in bytes
   * @param rowScales one F32 a row
   * @param scales one F32 a column
   * @param excess one I32 a column
   * @param bias one F32 a column, or null
   */
  public void scale(
      long rows,
      MemorySegment sums,
      MemorySegment out,
      long stride,
      MemorySegment rowScales,
      MemorySegment scales,
      MemorySegment excess,
      MemorySegment bias) {
    try {
      if (bias == null) {
        plain.invokeExact(rows, sums, out, stride, rowScales, scales, excess, excess);
      } else {
        biased.invokeExact(rows, sums, out, stride, rowScales, scales, excess, bias);
      }
    } catch (Throwable thrown) {
      throw new IllegalStateException("the scaling kernel failed", thrown);
    }
  }

  /**
   * rdi rows, rsi sums, rdx out, rcx stride, r8 row scales, r9 scales; on the stack the excess and
   * the bias.
   */
  private static byte[] code(int bits, boolean hasBias) {
    int bytes = bits / 8;
    Assembler code = new Assembler();
    code.load(Reg.RAX, Reg.RSP, Long.BYTES);
    code.load(Reg.R10, Reg.RSP, 2 * Long.BYTES);
    for (int half = 0; half < 2; half++) {
      code.vector(Op.VMOVUPS, bits, SCALES + half, Reg.R9, half * bytes);
      code.vector(Op.VMOVUPS, bits, EXCESS + half, Reg.RAX, half * bytes);
      code.vector(Op.VMOVUPS, bits, BIAS + half, Reg.R10, half * bytes);
    }
    int row = code.here();
    code.vector(Op.VBROADCASTSS, bits, 6, Reg.R8, 0);
    for (int half = 0; half < 2; half++) {
      int factor = 7 + half;
      int sum = 9 + half;
      code.vector(Op.VMULPS, bits, factor, 6, SCALES + half);
      code.vector(Op.VMOVUPS, bits, sum, Reg.RSI, half * bytes);
      code.vector(Op.VPSUBD, bits, sum, sum, EXCESS + half);
      code.vector(Op.VCVTDQ2PS, bits, sum, 0, sum);
      code.vector(Op.VMULPS, bits, sum, sum, factor);
      if (hasBias) {
        code.vector(Op.VADDPS, bits, sum, sum, BIAS + half);
      }
      code.vector(Op.VMOVUPS_STORE, bits, sum, Reg.RDX, half * bytes);
    }
    code.add(Reg.RSI, 2 * bytes);
    code.add(Reg.RDX, Reg.RCX);
    code.add(Reg.R8, Float.BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(row);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
