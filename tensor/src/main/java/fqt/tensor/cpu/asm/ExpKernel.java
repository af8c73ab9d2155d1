package fqt.tensor.cpu.asm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The two passes of a softmax over a row of whole vectors: its largest number, and the exponentials
 * of the distances from it with their sum. While the second pass computes, what comes after the row
 * is fetched into the cache.
 */
public final class ExpKernel {
  private static final FunctionDescriptor MAX =
      FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.ADDRESS);
  private static final FunctionDescriptor WEIGH =
      FunctionDescriptor.ofVoid(
          ValueLayout.JAVA_LONG,
          ValueLayout.ADDRESS,
          ValueLayout.JAVA_LONG,
          ValueLayout.ADDRESS,
          ValueLayout.ADDRESS);

  private final MethodHandle max;
  private final MethodHandle weigh;
  private final MethodHandle sum;

  /**
   * Assembles the kernels.
   *
   * @param bits width of the vectors, 256 or 512
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public ExpKernel(int bits) throws ExecutableMemory.Refused {
    max = ExecutableMemory.function(maxCode(bits), MAX);
    weigh = ExecutableMemory.function(weighCode(bits, true), WEIGH);
    sum = ExecutableMemory.function(weighCode(bits, false), WEIGH);
  }

  /**
   * The largest number of each lane; where there is a NaN, that or another.
   *
   * @param vectors at least 1
   * @param largest a vector, from which the search starts
   */
  public void max(long vectors, MemorySegment x, MemorySegment largest) {
    try {
      max.invokeExact(vectors, x, largest);
    } catch (Throwable thrown) {
      throw new IllegalStateException("the kernel of maxima failed", thrown);
    }
  }

  /**
   * {@code out = e^(x − shift)} for x that are no larger than the shift, as {@link Exponential} has
   * it.
   *
   * @param vectors at least 1
   * @param ahead bytes from x on to what will be wanted next
   * @param state two vectors: the shift in all lanes, and sums to which the results are added
   * @param out may be x; null if only the sums are wanted
   */
  public void weigh(
      long vectors, MemorySegment x, long ahead, MemorySegment state, MemorySegment out) {
    try {
      if (out == null) {
        sum.invokeExact(vectors, x, ahead, state, state);
      } else {
        weigh.invokeExact(vectors, x, ahead, state, out);
      }
    } catch (Throwable thrown) {
      throw new IllegalStateException("the kernel of exponentials failed", thrown);
    }
  }

  /** rdi vectors, rsi x, rdx largest. */
  private static byte[] maxCode(int bits) {
    Assembler code = new Assembler();
    code.vector(Op.VMOVUPS, bits, 0, Reg.RDX, 0);
    int vector = code.here();
    code.vector(Op.VMAXPS, bits, 0, 0, Reg.RSI, 0);
    code.add(Reg.RSI, bits / 8);
    code.decrement(Reg.RDI);
    code.jumpNotZero(vector);
    code.vector(Op.VMOVUPS_STORE, bits, 0, Reg.RDX, 0);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  /** rdi vectors, rsi x, rdx ahead, rcx state, r8 out. */
  private static byte[] weighCode(int bits, boolean stores) {
    int bytes = bits / 8;
    int shift = 3;
    int sum = 4;
    Assembler code = new Assembler();
    Exponential.constants(code, bits);
    code.vector(Op.VMOVUPS, bits, shift, Reg.RCX, 0);
    code.vector(Op.VMOVUPS, bits, sum, Reg.RCX, bytes);
    int vector = code.here();
    code.prefetch(Mem.at(Reg.RSI, Reg.RDX, 1, 0));
    code.vector(Op.VMOVUPS, bits, 0, Reg.RSI, 0);
    code.vector(Op.VSUBPS, bits, 0, 0, shift);
    Exponential.emit(code, bits, 0, 1, 2);
    code.vector(Op.VADDPS, bits, sum, sum, 2);
    if (stores) {
      code.vector(Op.VMOVUPS_STORE, bits, 2, Reg.R8, 0);
      code.add(Reg.R8, bytes);
    }
    code.add(Reg.RSI, bytes);
    code.decrement(Reg.RDI);
    code.jumpNotZero(vector);
    code.vector(Op.VMOVUPS_STORE, bits, sum, Reg.RCX, bytes);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
