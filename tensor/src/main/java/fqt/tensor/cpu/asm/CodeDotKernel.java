package fqt.tensor.cpu.asm;

/**
 * Dot products of one row of x with many rows of codes of 4 or 8 bits, {@code Σ scale * (code -
 * zero) * x} with a scale and a zero point for each group of a row. {@link CodeLayout} says what
 * form x has. Codes of 4 bits are multiplied by each byte of it in the processor's byte products,
 * those of 8 bits, widened, by an i16; both exactly.
 *
 * <pre>
 *   codes of 8 terms   k7 k6 | k5 k4 | k3 k2 | k1 k0      one i32 lane of a vector of the weight
 *   and 0x0f              k6 |    k4 |    k2 |    k0      times the bytes of x of even terms
 *   shift right 4, and    k7 |    k5 |    k3 |    k1      times those of odd terms
 * </pre>
 */
public final class CodeDotKernel {
  /** How far ahead in each stream codes are asked for, in bytes. */
  private static final int AHEAD = 1024;

  /** The same where vectors have 512 bits. */
  private static final int WIDE_AHEAD = 512;

  private static final int LINE = 64;

  /** Lanes 1, 2, 3 and 0 of four. */
  private static final int NEXT_LANE = 0x39;

  // The first four registers are sums of four rows. Behind them come the sums of digits of two rows
  // by turns: one is scaled while the other is multiplied.
  private static final int[] DIGIT = {4, 7};
  private static final int EVEN = 10;
  private static final int ODD = 11;
  private static final int PRODUCT = 12;
  private static final int MASK = 13;
  private static final int ONES = 14;
  private static final int RADIX = 15;

  private final CodeLayout layout;
  private final int bits;
  private final int digits;
  private final boolean dots;
  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param dots whether the processor has vpdpbusd (AVX512-VNNI); then a group of 4-bit codes is
   *     one vector
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public CodeDotKernel(CodeLayout layout, boolean dots) throws ExecutableMemory.Refused {
    this.layout = layout;
    this.bits = layout.bits();
    this.digits = layout.digits();
    this.dots = dots && layout.codeBits() == 4;
    this.function = new MachineFunction(11, code());
  }

  /**
   * Computes {@code 4 * rows} sums, of four streams of rows that follow each other. The caller
   * keeps the memory alive.
   *
   * @param groups groups of a row; where the last has fewer terms than others, what is read behind
   *     the row's codes meets zeros of x
   * @param rows rows of each stream
   * @param x address of the table of x
   * @param w address of the first row of codes, {@code wStride} bytes from that of the next stream
   * @param rowBytes bytes from a row of codes to the next
   * @param sums address of the F32 sums, which lie side by side for the rows of a stream and {@code
   *     sumStride} bytes from those of the next
   * @param records address of what is known of the rows beside their codes: {@link
   *     CodeLayout#recordBytes} for each, {@code recordStride} bytes from those of the next stream
   */
  public void multiply(
      long groups,
      long rows,
      long x,
      long w,
      long wStride,
      long rowBytes,
      long sums,
      long sumStride,
      long records,
      long recordStride) {
    function.call(
        groups,
        rows,
        x,
        w,
        wStride,
        sums,
        sumStride,
        records,
        recordStride,
        layout.recordBytes(groups),
        rowBytes - groups * layout.codeBytes());
  }

  private static final int ARGUMENTS = Assembler.STACK_ARGUMENTS;

  /** rdi groups, rsi rows, rdx x, rcx w, r8 stride of w, r9 sums; the rest on the stack. */
  private byte[] code() {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.R11, Reg.RSP, ARGUMENTS);
    code.load(Reg.R14, Reg.RSP, ARGUMENTS + 8);
    code.load(Reg.RBX, Reg.RSP, ARGUMENTS + 16);
    code.triple(Reg.R10, Reg.R8);
    code.triple(Reg.RBP, Reg.RBX);
    constants(code);
    int rows = code.here();
    code.move(Reg.R13, Reg.R14);
    begin(code);
    code.move(Reg.R12, Reg.RDX);
    code.move(Reg.RAX, Reg.RDI);
    int group = code.here();
    group(code);
    code.decrement(Reg.RAX);
    code.jumpNotZero(group);
    code.load(Reg.R14, Reg.RSP, ARGUMENTS + 24);
    code.add(Reg.R14, Reg.R13);
    code.load(Reg.RAX, Reg.RSP, ARGUMENTS + 32);
    code.add(Reg.RCX, Reg.RAX);
    LaneSums.addUp(code, bits, false, 0);
    store(code);
    code.decrement(Reg.RSI);
    code.jumpNotZero(rows);
    code.vzeroupper();
    code.restoreAllAndReturn();
    return code.bytes();
  }

  private void constants(Assembler code) {
    if (layout.codeBits() == 8) {
      Exponential.broadcast(code, bits, RADIX, 1 << CodeLayout.LOW_BITS);
      return;
    }
    code.broadcast(bits, MASK, 0x0f0f0f0f);
    code.broadcast(bits, ONES, 0x00010001);
    code.broadcast(bits, RADIX, 0x01000100);
  }

  /** What the sums of four rows begin with. */
  private void begin(Assembler code) {
    for (int row = 0; row < 4; row++) {
      if (!layout.hasStarts()) {
        code.vector(Op.VXORPS, 256, row, row, row);
      } else {
        code.vector(Op.VMOVUPS, Math.min(256, bits), row, 0, scalar(Reg.R14, row, 0));
        if (bits == 128) {
          code.vector(Op.VADDPS, 128, row, row, scalar(Reg.R14, row, bits / Byte.SIZE));
        }
      }
    }
    if (layout.hasStarts()) {
      code.add(Reg.R14, CodeLayout.BLOCK * Float.BYTES);
    } else if (layout.zeros()) {
      // Zero points are the second half of what is known.
      code.load(Reg.R15, Reg.RSP, ARGUMENTS + 24);
      code.shiftRight(Reg.R15, 1);
      code.add(Reg.R15, Reg.R14);
    }
  }

  private void group(Assembler code) {
    int ahead = bits == 512 ? WIDE_AHEAD : AHEAD;
    for (int row = 0; row < 4; row++) {
      for (int line = 0; line < Math.max(1, layout.codeBytes() / LINE); line++) {
        code.prefetch(Mem.inRow(Reg.RCX, Reg.R8, Reg.R10, row, ahead + line * LINE));
      }
      if (layout.codeBits() == 4) {
        sums(code, row, DIGIT[row % 2]);
      } else {
        wideSums(code, row, DIGIT[row % 2]);
      }
      if (row > 0) {
        scale(code, row - 1, DIGIT[(row - 1) % 2]);
      }
    }
    scale(code, 3, DIGIT[1]);
    code.add(Reg.R12, layout.tableBytes());
    code.add(Reg.RCX, layout.codeBytes());
    code.add(Reg.R14, Float.BYTES);
    if (layout.zeros() && !layout.hasStarts()) {
      code.add(Reg.R15, Float.BYTES);
    }
  }

  /** The four lanes of the first register, each to the sums of its stream. */
  private static void store(Assembler code) {
    code.move(Reg.RAX, Reg.R9);
    for (int row = 0; row < 4; row++) {
      code.vector(Op.VMOVSS_STORE, 128, 0, Reg.RAX, 0);
      if (row < 3) {
        code.permute(Op.VPERMILPS, 128, 0, 0, 0, NEXT_LANE);
        code.add(Reg.RAX, Reg.R11);
      }
    }
    code.add(Reg.R9, Float.BYTES);
  }

  /** Products of codes of 8 bits, half a vector of them at a time. */
  private void wideSums(Assembler code, int row, int sums) {
    for (int vector = 0; vector < layout.vectors(); vector++) {
      Mem codes = Mem.inRow(Reg.RCX, Reg.R8, Reg.R10, row, at(vector) / 2);
      code.vector(Op.VPMOVZXBW, bits, EVEN, 0, codes);
      for (int part = 0; part < layout.parts(); part++) {
        int to = vector == 0 ? sums + part : PRODUCT;
        code.vector(Op.VPMADDWD, bits, to, EVEN, Reg.R12, at(layout.parts() * vector + part));
        if (vector > 0) {
          code.vector(Op.VPADDD, bits, sums + part, sums + part, PRODUCT);
        }
      }
    }
  }

  /** The sums of one group with each of the bytes of x; where there are dots, all in the first. */
  private void sums(Assembler code, int row, int sums) {
    if (dots) {
      dots(code, row, sums);
      return;
    }
    for (int vector = 0; vector < layout.vectors(); vector++) {
      unpack(code, row, vector);
      for (int digit = 0; digit < digits; digit++) {
        add(code, sums + digit, EVEN, table(vector, digit), vector == 0);
        add(code, sums + digit, ODD, table(vector, digit) + layout.vectorBytes(), false);
      }
    }
  }

  /** Digit after digit into the same sums, which are shifted in between. */
  private void dots(Assembler code, int row, int sum) {
    code.vector(Op.VXORPS, 256, sum, sum, sum);
    unpack(code, row, 0);
    for (int digit = 0; digit < digits; digit++) {
      if (digit > 0) {
        code.shift(Op.VPSLLD, bits, sum, sum, 8);
      }
      code.vector(Op.VPDPBUSD, bits, sum, EVEN, Reg.R12, table(0, digit));
      code.vector(Op.VPDPBUSD, bits, sum, ODD, Reg.R12, table(0, digit) + layout.vectorBytes());
    }
  }

  private void unpack(Assembler code, int row, int vector) {
    code.vector(Op.VMOVUPS, bits, ODD, 0, Mem.inRow(Reg.RCX, Reg.R8, Reg.R10, row, at(vector)));
    code.vector(Op.VPAND, bits, EVEN, ODD, MASK);
    code.shift(Op.VPSRLW, bits, ODD, ODD, 4);
    code.vector(Op.VPAND, bits, ODD, ODD, MASK);
  }

  private void add(Assembler code, int sum, int codes, int x, boolean first) {
    if (first) {
      code.vector(Op.VPMADDUBSW, bits, sum, codes, Reg.R12, x);
    } else {
      // Eight of these at most meet in a lane: 8 * 2 * 15 * 128 fits into i16.
      code.vector(Op.VPMADDUBSW, bits, PRODUCT, codes, Reg.R12, x);
      code.vector(Op.VPADDW, bits, sum, sum, PRODUCT);
    }
  }

  /** {@code sum += scale * (whole number - zero * sum of x)}, or without the zero point. */
  private void scale(Assembler code, int row, int whole) {
    if (layout.codeBits() == 8) {
      widen(code, whole);
    } else {
      if (!dots) {
        join(code, whole);
      }
      if (!layout.hasStarts() && !layout.zeros()) {
        code.vector(Op.VPADDD, bits, whole, whole, Reg.R12, layout.ends());
      }
      code.vector(Op.VCVTDQ2PS, bits, whole, 0, whole);
    }
    if (!layout.hasStarts() && layout.zeros()) {
      code.vector(Op.VBROADCASTSS, bits, PRODUCT, 0, scalar(Reg.R15, row, 0));
      code.vector(Op.VFNMADD231PS, bits, whole, PRODUCT, Reg.R12, layout.ends());
    }
    code.vector(Op.VBROADCASTSS, bits, PRODUCT, 0, scalar(Reg.R14, row, 0));
    code.vector(Op.VFMADD231PS, bits, row, whole, PRODUCT);
  }

  /** Sums of products with i16 as f32. */
  private void widen(Assembler code, int whole) {
    code.vector(Op.VCVTDQ2PS, bits, whole, 0, whole);
    if (digits == 3) {
      code.vector(Op.VCVTDQ2PS, bits, whole + 1, 0, whole + 1);
      code.vector(Op.VFMADD213PS, bits, whole, RADIX, whole + 1);
      if (!layout.zeros()) {
        code.vector(Op.VADDPS, bits, whole, whole, Reg.R12, layout.ends());
      }
    }
  }

  /** Whole numbers of 32 bits from the sums of their bytes, two of 16 bits in each lane. */
  private void join(Assembler code, int high) {
    code.vector(Op.VPMADDWD, bits, high, high, RADIX);
    for (int digit = 1; digit < digits; digit++) {
      code.vector(Op.VPMADDWD, bits, high + digit, high + digit, ONES);
    }
    code.vector(Op.VPADDD, bits, high, high, high + 1);
    if (digits == 3) {
      code.shift(Op.VPSLLD, bits, high, high, 8);
      code.vector(Op.VPADDD, bits, high, high, high + 2);
    }
  }

  private static Mem scalar(Reg base, int row, int displacement) {
    return Mem.inRow(base, Reg.RBX, Reg.RBP, row, displacement);
  }

  /** Where the bytes of x for the even terms of a vector of codes are; the odd ones follow. */
  private int table(int vector, int digit) {
    return at(2 * (digits * vector + digit));
  }

  private int at(int vector) {
    return vector * layout.vectorBytes();
  }
}
