package fqt.tensor.cpu.asm;

/**
 * Turns a strip of I32 sums into results: {@code out[r][c] = (sum[r][c] - excess[c]) * (rowScale[r]
 * * scale[c]) + bias[c]}, each step rounded once, as its scalar twin does it.
 */
public final class ScaleKernel {
  private static final int SCALES = 0;
  private static final int EXCESS = 2;
  private static final int BIAS = 4;

  private static final Reg[] SAVED = {Reg.RBX, Reg.RBP, Reg.R12, Reg.R13, Reg.R14};

  private final MachineFunction plain;
  private final MachineFunction biased;

  /**
   * Assembles the kernel.
   *
   * @param bits width of the vectors, 256 or 512; a strip is two vectors wide
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public ScaleKernel(int bits) throws ExecutableMemory.Refused {
    plain = new MachineFunction(10, code(bits, false));
    biased = new MachineFunction(10, code(bits, true));
  }

  /**
   * Scales some rows of strips that are neighbours. Places are addresses; the caller keeps the
   * memory alive.
   *
   * @param rows at least 1
   * @param strips at least 1
   * @param sums the rows of the first strip, side by side
   * @param pitch distance of two strips of sums, in bytes
   * @param out the first result
   * @param stride distance of two rows of the result, in bytes
   * @param rowScales one F32 a row
   * @param scales one F32 a column
   * @param excess one I32 a column
   * @param bias one F32 a column, or 0 for none
   */
  public void scale(
      long rows,
      long strips,
      long sums,
      long pitch,
      long out,
      long stride,
      long rowScales,
      long scales,
      long excess,
      long bias) {
    boolean hasBias = bias != 0;
    (hasBias ? biased : plain)
        .call(
            rows,
            strips,
            sums,
            out,
            stride,
            rowScales,
            scales,
            excess,
            hasBias ? bias : excess,
            pitch);
  }

  /**
   * rdi rows, rsi strips, rdx sums, rcx out, r8 stride, r9 row scales; on the stack scales, excess,
   * bias and the pitch.
   */
  private static byte[] code(int bits, boolean hasBias) {
    int bytes = bits / 8;
    Assembler code = new Assembler();
    for (Reg saved : SAVED) {
      code.push(saved);
    }
    int stack = (SAVED.length + 1) * Long.BYTES;
    code.load(Reg.RAX, Reg.RSP, stack);
    code.load(Reg.R10, Reg.RSP, stack + Long.BYTES);
    code.load(Reg.R11, Reg.RSP, stack + 2 * Long.BYTES);
    code.load(Reg.RBP, Reg.RSP, stack + 3 * Long.BYTES);
    int strip = code.here();
    for (int half = 0; half < 2; half++) {
      code.vector(Op.VMOVUPS, bits, SCALES + half, Reg.RAX, half * bytes);
      code.vector(Op.VMOVUPS, bits, EXCESS + half, Reg.R10, half * bytes);
      code.vector(Op.VMOVUPS, bits, BIAS + half, Reg.R11, half * bytes);
    }
    code.move(Reg.RBX, Reg.RDI);
    code.move(Reg.R12, Reg.RDX);
    code.move(Reg.R13, Reg.RCX);
    code.move(Reg.R14, Reg.R9);
    int row = code.here();
    row(code, bits, hasBias);
    code.add(Reg.R12, 2 * bytes);
    code.add(Reg.R13, Reg.R8);
    code.add(Reg.R14, Float.BYTES);
    code.decrement(Reg.RBX);
    code.jumpNotZero(row);
    code.add(Reg.RDX, Reg.RBP);
    for (Reg next : new Reg[] {Reg.RCX, Reg.RAX, Reg.R10, Reg.R11}) {
      code.add(next, 2 * bytes);
    }
    code.decrement(Reg.RSI);
    code.jumpNotZero(strip);
    code.vzeroupper();
    for (int i = SAVED.length - 1; i >= 0; i--) {
      code.pop(SAVED[i]);
    }
    code.ret();
    return code.bytes();
  }

  /** r12 sums, r13 out, r14 the scale. The result of eight rows further is asked for. */
  private static void row(Assembler code, int bits, boolean hasBias) {
    int bytes = bits / 8;
    for (int line = 0; line < 2 * bytes; line += 64) {
      code.prefetch(Mem.at(Reg.R13, Reg.R8, 8, line));
    }
    code.vector(Op.VBROADCASTSS, bits, 6, Reg.R14, 0);
    for (int half = 0; half < 2; half++) {
      int factor = 7 + half;
      int sum = 9 + half;
      code.vector(Op.VMULPS, bits, factor, 6, SCALES + half);
      code.vector(Op.VMOVUPS, bits, sum, Reg.R12, half * bytes);
      code.vector(Op.VPSUBD, bits, sum, sum, EXCESS + half);
      code.vector(Op.VCVTDQ2PS, bits, sum, 0, sum);
      code.vector(Op.VMULPS, bits, sum, sum, factor);
      if (hasBias) {
        code.vector(Op.VADDPS, bits, sum, sum, BIAS + half);
      }
      code.vector(Op.VMOVUPS_STORE, bits, sum, Reg.R13, half * bytes);
    }
  }
}
