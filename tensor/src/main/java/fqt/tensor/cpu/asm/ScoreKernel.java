package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * The step of attention between its two products: scores of some rows become weights {@code
 * e^(score − largest)}, where the largest is that of all blocks of keys so far; what a row has
 * summed up under a smaller one is multiplied by {@code e^(before − after)}.
 */
public final class ScoreKernel {
  /** Where a row's largest score starts: subtracting it from −∞ gives −∞ still, not NaN. */
  public static final float NONE = -Float.MAX_VALUE;

  private final int bits;
  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param bits width of the vectors, 256 or 512
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public ScoreKernel(int bits) throws ExecutableMemory.Refused {
    this.bits = bits;
    this.function = new MachineFunction(8, code());
  }

  /** Bytes of the state of a row: its largest score in all lanes, then sums of weights. */
  public int stateBytes() {
    return 2 * bits / 8;
  }

  /**
   * Weighs the scores of some rows.
   *
   * @param rows at least 1
   * @param vectors of scores in a row, at least 1
   * @param stride distance of two rows of scores, in bytes
   * @param states of the rows, side by side
   * @param meanVectors of means in a row, at least 1
   * @param meanStride distance of two rows of means, in bytes
   */
  public void weigh(
      long rows,
      long vectors,
      MemorySegment scores,
      long stride,
      MemorySegment states,
      MemorySegment means,
      long meanVectors,
      long meanStride) {
    function.call(
        rows,
        vectors,
        address(scores),
        stride,
        address(states),
        address(means),
        meanVectors,
        meanStride);
    keep(scores, states, means);
  }

  /**
   * rdi rows, rsi vectors, rdx scores, rcx stride, r8 states, r9 means; on the stack vectors and
   * stride of the means.
   */
  private byte[] code() {
    int bytes = bits / 8;
    int largest = 0;
    int sum = Exponential.FREE;
    Assembler code = new Assembler();
    Exponential.constants(code, bits);
    int row = code.here();
    code.vector(Op.VMOVUPS, bits, largest, Reg.R8, 0);
    code.move(Reg.R10, Reg.RDX);
    code.move(Reg.R11, Reg.RSI);
    int each = code.here();
    code.vector(Op.VMAXPS, bits, largest, largest, Reg.R10, 0);
    next(code, each);
    spreadLargest(code, largest);
    code.vector(Op.VMOVUPS, bits, 1, Reg.R8, 0);
    code.vector(Op.VMOVUPS_STORE, bits, largest, Reg.R8, 0);
    code.vector(Op.VSUBPS, bits, 0, 1, largest);
    Exponential.emit(code, bits);
    code.vector(Op.VMULPS, bits, sum, 2, Reg.R8, bytes);
    code.move(Reg.R10, Reg.R9);
    code.load(Reg.R11, Reg.RSP, Long.BYTES);
    int mean = code.here();
    code.vector(Op.VMULPS, bits, 0, 2, Reg.R10, 0);
    code.vector(Op.VMOVUPS_STORE, bits, 0, Reg.R10, 0);
    next(code, mean);
    code.move(Reg.R10, Reg.RDX);
    code.move(Reg.R11, Reg.RSI);
    int score = code.here();
    code.vector(Op.VMOVUPS, bits, 0, Reg.R10, 0);
    code.vector(Op.VSUBPS, bits, 0, 0, Reg.R8, 0);
    Exponential.emit(code, bits);
    code.vector(Op.VMOVUPS_STORE, bits, 2, Reg.R10, 0);
    code.vector(Op.VADDPS, bits, sum, sum, 2);
    next(code, score);
    code.vector(Op.VMOVUPS_STORE, bits, sum, Reg.R8, bytes);
    code.load(Reg.R10, Reg.RSP, 2 * Long.BYTES);
    code.add(Reg.R9, Reg.R10);
    code.add(Reg.RDX, Reg.RCX);
    code.add(Reg.R8, 2 * bytes);
    code.decrement(Reg.RDI);
    code.jumpNotZero(row);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  /** The next of r11 vectors at r10. */
  private void next(Assembler code, int loop) {
    code.add(Reg.R10, bits / 8);
    code.decrement(Reg.R11);
    code.jumpNotZero(loop);
  }

  /** The largest of all lanes in each: halves, quarters, ... are exchanged. */
  private void spreadLargest(Assembler code, int largest) {
    if (bits == 512) {
      code.permute(Op.VSHUFF32X4, bits, 1, largest, largest, 0x4e);
      code.vector(Op.VMAXPS, bits, largest, largest, 1);
      code.permute(Op.VSHUFF32X4, bits, 1, largest, largest, 0xb1);
    } else {
      code.permute(Op.VPERM2F128, bits, 1, largest, largest, 1);
    }
    code.vector(Op.VMAXPS, bits, largest, largest, 1);
    for (int order : new int[] {0x4e, 0xb1}) {
      code.permute(Op.VPERMILPS, bits, 1, 0, largest, order);
      code.vector(Op.VMAXPS, bits, largest, largest, 1);
    }
  }
}
