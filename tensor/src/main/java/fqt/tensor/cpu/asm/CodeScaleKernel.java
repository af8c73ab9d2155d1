package fqt.tensor.cpu.asm;

/**
 * What {@link CodeDotKernel} wants to know of rows of a weight beside their codes, as {@link
 * CodeLayout#recordBytes} says: scales in f32, times the units of the numbers of x, and zero
 * points; or instead of these the start of the sum of a row,
 *
 * <pre>
 *   start[g % 8] -= scale[g] * unit[g] * zero[g] * sum[g]      in the order of g
 * </pre>
 *
 * for the sums of the groups of x.
 */
public final class CodeScaleKernel {
  /** What the scales are. */
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

  /** How far ahead scales are asked for, in bytes: between two calls others use the memory. */
  private static final int AHEAD = 1024;

  private static final int SCALE = 0;
  private static final int ZERO = 1;
  private static final int THERE = 2;
  private static final int START = 3;
  private static final int NOTHING = 4;
  private static final int VECTOR = CodeLayout.BLOCK * Float.BYTES;

  private final CodeLayout layout;
  private final Kind kind;
  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param layout of the kernel that multiplies
   * @param kind what the scales are
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public CodeScaleKernel(CodeLayout layout, Kind kind) throws ExecutableMemory.Refused {
    this.layout = layout;
    this.kind = kind;
    this.function = new MachineFunction(10, code());
  }

  /**
   * Reads the scales and zero points of some rows. Those of a row are read in whole blocks of
   * {@value CodeLayout#BLOCK}: there must be as many to read behind the last row. The caller keeps
   * the memory alive.
   *
   * @param rows at least 1
   * @param groups of a row
   * @param scales address of the scales, {@code scaleStride} bytes a row
   * @param zeros address of the zero points, {@code zeroStride} bytes a row; anything if there are
   *     none
   * @param numbers address of the units of the groups and, {@code sumsAt} bytes behind them, of
   *     their sums; behind the last of both there are zeros, as many as fill a block
   * @param to address of the result
   */
  public void read(
      long rows,
      long groups,
      long scales,
      long scaleStride,
      long zeros,
      long zeroStride,
      long numbers,
      long sumsAt,
      long to) {
    long blocks = Math.ceilDiv(groups, (long) CodeLayout.BLOCK);
    function.call(
        rows, blocks, scales, scaleStride, zeros, zeroStride, numbers, sumsAt, to, blocks * VECTOR);
  }

  private static final int ARGUMENTS = Assembler.STACK_ARGUMENTS;

  /**
   * rdi rows, rsi blocks, rdx scales, rcx their stride, r8 zero points, r9 their stride; r10 units,
   * r11 from them to the sums, r14 result, r15 from its scales to its zero points.
   */
  private byte[] code() {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.R13, Reg.RSP, ARGUMENTS);
    code.load(Reg.R11, Reg.RSP, ARGUMENTS + 8);
    code.load(Reg.R14, Reg.RSP, ARGUMENTS + 16);
    code.load(Reg.R15, Reg.RSP, ARGUMENTS + 24);
    code.vector(Op.VXORPS, 256, NOTHING, NOTHING, NOTHING);
    int row = code.here();
    code.move(Reg.RAX, Reg.RSI);
    code.move(Reg.RBX, Reg.RDX);
    code.move(Reg.RBP, Reg.R8);
    code.move(Reg.R10, Reg.R13);
    if (layout.hasStarts()) {
      code.move(Reg.R12, Reg.R14);
      code.vector(Op.VXORPS, 256, START, START, START);
      code.add(Reg.R14, VECTOR);
    }
    int block = code.here();
    block(code);
    code.add(Reg.RBX, CodeLayout.BLOCK * kind.bytes);
    code.add(Reg.RBP, CodeLayout.BLOCK);
    code.add(Reg.R10, VECTOR);
    code.add(Reg.R14, VECTOR);
    code.decrement(Reg.RAX);
    code.jumpNotZero(block);
    if (layout.hasStarts()) {
      code.vector(Op.VMOVUPS_STORE, 256, START, Reg.R12, 0);
    } else if (layout.zeros()) {
      code.add(Reg.R14, Reg.R15);
    }
    code.add(Reg.RDX, Reg.RCX);
    code.add(Reg.R8, Reg.R9);
    code.decrement(Reg.RDI);
    code.jumpNotZero(row);
    code.vzeroupper();
    code.restoreAllAndReturn();
    return code.bytes();
  }

  private void block(Assembler code) {
    code.prefetch(Mem.at(Reg.RBX, AHEAD));
    switch (kind) {
      case F32 -> code.vector(Op.VMOVUPS, 256, SCALE, Reg.RBX, 0);
      case F16 -> code.vector(Op.VCVTPH2PS, 256, SCALE, 0, Mem.at(Reg.RBX, 0));
      case BF16 -> {
        code.vector(Op.VPMOVZXWD, 256, SCALE, 0, Mem.at(Reg.RBX, 0));
        code.shift(Op.VPSLLD, 256, SCALE, SCALE, 16);
      }
    }
    code.vector(Op.VMULPS, 256, SCALE, SCALE, Reg.R10, 0);
    code.vector(Op.VMOVUPS_STORE, 256, SCALE, Reg.R14, 0);
    if (layout.zeros()) {
      code.vector(Op.VPMOVZXBD, 256, ZERO, 0, Mem.at(Reg.RBP, 0));
      code.vector(Op.VCVTDQ2PS, 256, ZERO, 0, ZERO);
    }
    if (layout.hasStarts()) {
      start(code);
    } else if (layout.zeros()) {
      code.vector(Op.VMOVUPS_STORE, 256, ZERO, 0, Mem.at(Reg.R14, Reg.R15, 1, 0));
    }
  }

  /** What is behind the last group may not be finite: where there is no unit it becomes 0. */
  private void start(Assembler code) {
    code.vector(Op.VMOVUPS, 256, THERE, Reg.R10, 0);
    code.vector(Op.VPCMPGTD, 256, THERE, THERE, NOTHING);
    code.vector(Op.VPAND, 256, SCALE, SCALE, THERE);
    Mem sums = Mem.at(Reg.R10, Reg.R11, 1, 0);
    if (layout.zeros()) {
      code.vector(Op.VMULPS, 256, ZERO, ZERO, sums);
      code.vector(Op.VFNMADD231PS, 256, START, SCALE, ZERO);
    } else {
      code.vector(Op.VFNMADD231PS, 256, START, SCALE, sums);
    }
  }
}
