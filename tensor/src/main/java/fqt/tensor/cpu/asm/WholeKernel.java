package fqt.tensor.cpu.asm;

/**
 * Turns a row of x into whole numbers times a power of two for each group, laid out as {@link
 * CodeLayout} says. With {@code 2^e} the power of two above the largest magnitude of the group, or
 * 2^-60 if that is larger, the numbers are {@code rint(x * 2^(precision - e))}; with two digits, e
 * is larger by one where they would not fit into two signed bytes.
 *
 * <pre>
 *   eight numbers, as i32       a b c d | e f g h
 *   their bytes, signed         a1 c1 b1 d1 a0 c0 b0 d0 | e1 g1 f1 h1 e0 g0 f0 h0
 *   pairs by turns              a1 c1 e1 g1   b1 d1 f1 h1   a0 c0 e0 g0   b0 d0 f0 h0
 *   four of these, turned       a vector for each
 * </pre>
 */
public final class WholeKernel {
  /** Bits of a whole number without its sign: of three digits, and of two. */
  private static final int PRECISION = 22;

  private static final int SHORT_PRECISION = 15;

  /** The largest of two signed bytes is 2^15 less one part in 255. */
  private static final float ROOM = 1 + 0x1p-7f;

  /** Groups whose largest number is below 2^{@value} count as that large: scales stay normal. */
  private static final int LEAST_EXPONENT = -60;

  /** Turns the bytes of a number, all from −128 to 127, into bytes of their sum and back. */
  private static final int SIGNS = 0x00808080;

  /** A number of x by the bits of its exponent: 2^(n − 126) is the least power of two above it. */
  private static final int ABOVE = 126;

  /** The bits of the exponent of 2^0. */
  private static final int BIAS = 127;

  /** Numbers that are turned together. */
  private static final int CHUNK = 8;

  // Registers. The first eight are free for numbers.
  private static final int LARGEST = 8;
  private static final int UP = 9;
  private static final int SUM = 10;
  private static final int SPARE = 11;
  private static final int MAGNITUDE = 12;
  private static final int SIGN_BYTES = 13;
  private static final int ORDER = 14;
  private static final int OTHER = 15;

  // Constants below the stack pointer.
  private static final int LEAST = -20;
  private static final int ROOM_AT = -24;
  private static final int ONE = -28;
  private static final int UP_FROM = -32;
  private static final int UNIT_FROM = -36;
  private static final int HALF = -40;
  private static final int MIDDLE = -44;

  private final CodeLayout layout;
  private final CodeScaleKernel.Kind kind;
  private final int digits;
  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param layout of the kernel that multiplies
   * @param kind what x is
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public WholeKernel(CodeLayout layout, CodeScaleKernel.Kind kind) throws ExecutableMemory.Refused {
    this.layout = layout;
    this.kind = kind;
    this.digits = layout.digits();
    this.function = new MachineFunction(5, code());
  }

  /**
   * Turns a row. The caller keeps the memory alive.
   *
   * @param groups at least 1
   * @param x address of the row
   * @param table address of the tables of the groups
   * @param units address of the F32 units of the numbers, one for each group, and behind the last a
   *     block of zeros; behind that, an I32: the largest magnitude of x as the bits of an f32, from
   *     {@code 0x7f800000} on if x is not finite
   * @param sumsAt bytes from there to the sums of the groups and a block of zeros, if the layout
   *     has starts: F32, times {@code 2^(codeBits - 1)} if there are no zero points
   */
  public void turn(long groups, long x, long table, long units, long sumsAt) {
    function.call(groups, x, table, units, sumsAt);
  }

  /** rdi groups, rsi x, rdx table, rcx units, r8 from them to the sums. */
  private byte[] code() {
    Assembler code = new Assembler();
    constants(code);
    code.vector(Op.VXORPS, 256, LARGEST, LARGEST, LARGEST);
    int group = code.here();
    scale(code);
    if (layout.hasStarts()) {
      code.vector(Op.VXORPS, 256, SUM, SUM, SUM);
    }
    if (layout.codeBits() == 4) {
      bytes(code);
    } else {
      words(code);
    }
    if (layout.hasStarts()) {
      sum(code);
    }
    code.add(Reg.RSI, layout.group() * kind.bytes);
    code.add(Reg.RDX, layout.tableBytes());
    code.add(Reg.RCX, Float.BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(group);
    code.vector(Op.VXORPS, 256, SUM, SUM, SUM);
    code.vector(Op.VMOVUPS_STORE, 256, SUM, Reg.RCX, 0);
    if (layout.hasStarts()) {
      code.vector(Op.VMOVUPS_STORE, 256, SUM, 0, Mem.at(Reg.RCX, Reg.R8, 1, 0));
    }
    code.vector(Op.VMOVSS_STORE, 128, LARGEST, Reg.RCX, CodeLayout.BLOCK * Float.BYTES);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  private void constants(Assembler code) {
    int precision = digits == 2 ? SHORT_PRECISION : PRECISION;
    code.broadcast(256, MAGNITUDE, 0x7fffffff);
    code.broadcast(256, SIGN_BYTES, SIGNS);
    int[] order = digits == 2 ? new int[] {0x0d050901, 0x0c040800, -1, -1} : ORDER_OF_THREE;
    for (int i = 0; i < order.length; i++) {
      constant(code, 4 * i - 16, order[i]);
    }
    code.vector(Op.VMOVUPS, 128, ORDER, Reg.RSP, -16);
    code.upperHalf(ORDER, Mem.at(Reg.RSP, -16));
    constant(code, LEAST, LEAST_EXPONENT + ABOVE);
    constant(code, ROOM_AT, Float.floatToRawIntBits(ROOM));
    constant(code, ONE, 1);
    constant(code, UP_FROM, precision + ABOVE + BIAS);
    constant(code, UNIT_FROM, BIAS - ABOVE - precision);
    constant(code, HALF, 1 << CodeLayout.LOW_BITS - 1);
    constant(code, MIDDLE, Float.floatToRawIntBits(-128));
  }

  /** High, middle and low bytes of numbers 0 and 2, and of 1 and 3, before each other. */
  private static final int[] ORDER_OF_THREE = {0x0e060a02, 0x0d050901, 0x0c040800, -1};

  private static void constant(Assembler code, int at, int value) {
    code.move(Reg.RAX, value);
    code.storeInt(Reg.RAX, Reg.RSP, at);
  }

  private static void broadcast(Assembler code, int to, int at) {
    code.vector(Op.VBROADCASTSS, 256, to, Reg.RSP, at);
  }

  /** Finds what the numbers of a group are multiplied by. */
  private void scale(Assembler code) {
    code.vector(Op.VXORPS, 256, 0, 0, 0);
    for (int chunk = 0; chunk < layout.group() / CHUNK; chunk++) {
      load(code, 1, chunk);
      code.vector(Op.VPAND, 256, 1, 1, MAGNITUDE);
      code.vector(Op.VPMAXSD, 256, 0, 0, 1);
    }
    code.permute(Op.VPERM2F128, 256, 1, 0, 0, 1);
    code.vector(Op.VPMAXSD, 256, 0, 0, 1);
    code.permute(Op.VPERMILPS, 256, 1, 0, 0, 0x4e);
    code.vector(Op.VPMAXSD, 256, 0, 0, 1);
    code.permute(Op.VPERMILPS, 256, 1, 0, 0, 0xb1);
    code.vector(Op.VPMAXSD, 256, 0, 0, 1);
    code.vector(Op.VPMAXSD, 256, LARGEST, LARGEST, 0);
    code.shift(Op.VPSRLD, 256, 1, 0, 23);
    broadcast(code, 2, LEAST);
    code.vector(Op.VPMAXSD, 256, 1, 1, 2);
    if (digits == 2) {
      broadcast(code, 2, ROOM_AT);
      code.vector(Op.VMULPS, 256, 0, 0, 2);
      broadcast(code, 2, ONE);
      code.vector(Op.VPADDD, 256, 1, 1, 2);
      code.shift(Op.VPSLLD, 256, 3, 1, 23);
      // All bits, that is −1, where there is room.
      code.vector(Op.VPCMPGTD, 256, 3, 3, 0);
      code.vector(Op.VPADDD, 256, 1, 1, 3);
    }
    broadcast(code, UP, UP_FROM);
    code.vector(Op.VPSUBD, 256, UP, UP, 1);
    code.shift(Op.VPSLLD, 256, UP, UP, 23);
    broadcast(code, 2, UNIT_FROM);
    code.vector(Op.VPADDD, 256, 1, 1, 2);
    code.shift(Op.VPSLLD, 256, 1, 1, 23);
    code.vector(Op.VMOVSS_STORE, 128, 1, Reg.RCX, 0);
  }

  private void load(Assembler code, int to, int chunk) {
    int at = chunk * CHUNK * kind.bytes;
    switch (kind) {
      case F32 -> code.vector(Op.VMOVUPS, 256, to, Reg.RSI, at);
      case F16 -> code.vector(Op.VCVTPH2PS, 256, to, 0, Mem.at(Reg.RSI, at));
      case BF16 -> {
        code.vector(Op.VPMOVZXWD, 256, to, 0, Mem.at(Reg.RSI, at));
        code.shift(Op.VPSLLD, 256, to, to, 16);
      }
    }
  }

  /** Eight whole numbers, as i32. */
  private void round(Assembler code, int to, int chunk) {
    load(code, to, chunk);
    code.vector(Op.VMULPS, 256, to, to, UP);
    code.vector(Op.VCVTPS2DQ, 256, to, 0, to);
    if (layout.hasStarts()) {
      code.vector(Op.VPADDD, 256, SUM, SUM, to);
    }
  }

  /** The sum of a group, from its eight parts. */
  private void sum(Assembler code) {
    code.extract(Op.VEXTRACTF128, 256, SPARE, SUM, 1);
    code.vector(Op.VPADDD, 128, SUM, SUM, SPARE);
    code.vector(Op.VPHADDD, 128, SUM, SUM, SUM);
    code.vector(Op.VPHADDD, 128, SUM, SUM, SUM);
    if (!layout.zeros()) {
      code.shift(Op.VPSLLD, 128, SUM, SUM, layout.codeBits() - 1);
    }
    code.vector(Op.VCVTDQ2PS, 128, SUM, 0, SUM);
    code.vector(Op.VMOVSS_STORE, 128, SUM, 0, Mem.at(Reg.RCX, Reg.R8, 1, 0));
  }

  /** Numbers as bytes, four lanes of a vector of codes at a time. */
  private void bytes(Assembler code) {
    for (int four = 0; four < layout.lanes(); four += 4) {
      if (!layout.hasStarts()) {
        code.vector(Op.VXORPS, 256, SUM, SUM, SUM);
      }
      for (int vector = 0; vector < layout.vectors(); vector++) {
        for (int i = 0; i < 4; i++) {
          round(code, i, layout.lanes() * vector + four + i);
        }
        if (!layout.hasStarts()) {
          code.vector(Op.VPHADDD, 256, SPARE, 0, 1);
          code.vector(Op.VPHADDD, 256, OTHER, 2, 3);
          code.vector(Op.VPHADDD, 256, SPARE, SPARE, OTHER);
          code.vector(Op.VPADDD, 256, SUM, SUM, SPARE);
        }
        for (int i = 0; i < 4; i++) {
          split(code, i);
        }
        turn(code, 2 * digits * vector, 4 * four);
      }
      if (!layout.hasStarts()) {
        code.extract(Op.VEXTRACTF128, 256, SPARE, SUM, 1);
        code.vector(Op.VPADDD, 128, SUM, SUM, SPARE);
        end(code, SUM, 4 * four);
      }
    }
  }

  /**
   * The bytes of eight numbers: of two digits in one register, of three also in the fourth next.
   */
  private void split(Assembler code, int i) {
    code.vector(Op.VPADDD, 256, i, i, SIGN_BYTES);
    code.vector(Op.VPXOR, 256, i, i, SIGN_BYTES);
    code.vector(Op.VPSHUFB, 256, i, i, ORDER);
    code.extract(Op.VEXTRACTF128, 256, SPARE, i, 1);
    if (digits == 3) {
      code.vector(Op.VPUNPCKHWD, 128, 4 + i, i, SPARE);
    }
    code.vector(Op.VPUNPCKLWD, 128, i, i, SPARE);
  }

  /** Turns four registers and stores them to vectors of the table from one on. */
  private void turn(Assembler code, int vector, int at) {
    code.vector(Op.VUNPCKLPS, 128, SPARE, 0, 1);
    code.vector(Op.VUNPCKHPS, 128, 0, 0, 1);
    code.vector(Op.VUNPCKLPS, 128, OTHER, 2, 3);
    code.vector(Op.VUNPCKHPS, 128, 2, 2, 3);
    storeTwo(code, SPARE, OTHER, vector, at);
    storeTwo(code, 0, 2, vector + 2, at);
    if (digits == 3) {
      code.vector(Op.VUNPCKLPS, 128, SPARE, 4, 5);
      code.vector(Op.VUNPCKLPS, 128, OTHER, 6, 7);
      storeTwo(code, SPARE, OTHER, vector + 4, at);
    }
  }

  private void storeTwo(Assembler code, int first, int second, int vector, int at) {
    code.vector(Op.VUNPCKLPD, 128, 1, first, second);
    code.vector(Op.VMOVUPS_STORE, 128, 1, Reg.RDX, at + vector * layout.vectorBytes());
    code.vector(Op.VUNPCKHPD, 128, 1, first, second);
    code.vector(Op.VMOVUPS_STORE, 128, 1, Reg.RDX, at + (vector + 1) * layout.vectorBytes());
  }

  /** Numbers as i16, eight at a time. */
  private void words(Assembler code) {
    int quarters = layout.lanes() / 4;
    for (int chunk = 0; chunk < layout.group() / CHUNK; chunk++) {
      int vector = chunk / quarters * layout.parts();
      int at = 16 * (chunk % quarters);
      round(code, 0, chunk);
      if (!layout.hasStarts()) {
        pairSums(code, 4 + chunk % quarters, chunk < quarters);
        broadcast(code, 1, HALF);
        code.vector(Op.VPADDD, 256, 1, 1, 0);
        code.shift(Op.VPSRAD, 256, 1, 1, CodeLayout.LOW_BITS);
        code.shift(Op.VPSLLD, 256, 2, 1, CodeLayout.LOW_BITS);
        code.vector(Op.VPSUBD, 256, 0, 0, 2);
        storeWords(code, 1, vector++, at);
      }
      storeWords(code, 0, vector, at);
    }
    for (int quarter = 0; !layout.hasStarts() && quarter < quarters; quarter++) {
      end(code, 4 + quarter, 16 * quarter);
    }
  }

  private static void pairSums(Assembler code, int to, boolean first) {
    code.extract(Op.VEXTRACTF128, 256, SPARE, 0, 1);
    if (first) {
      code.vector(Op.VPHADDD, 128, to, 0, SPARE);
    } else {
      code.vector(Op.VPHADDD, 128, SPARE, 0, SPARE);
      code.vector(Op.VPADDD, 128, to, to, SPARE);
    }
  }

  private void storeWords(Assembler code, int numbers, int vector, int at) {
    code.extract(Op.VEXTRACTF128, 256, SPARE, numbers, 1);
    code.vector(Op.VPACKSSDW, 128, numbers, numbers, SPARE);
    code.vector(Op.VMOVUPS_STORE, 128, numbers, Reg.RDX, at + vector * layout.vectorBytes());
  }

  /** Four sums as what zero points multiply. */
  private void end(Assembler code, int sums, int at) {
    if (!layout.zeros() && layout.codeBits() == 4) {
      code.shift(Op.VPSLLD, 128, sums, sums, 3);
      code.vector(Op.VXORPS, 128, SPARE, SPARE, SPARE);
      code.vector(Op.VPSUBD, 128, sums, SPARE, sums);
    } else {
      code.vector(Op.VCVTDQ2PS, 128, sums, 0, sums);
    }
    if (!layout.zeros() && layout.codeBits() == 8) {
      broadcast(code, SPARE, MIDDLE);
      code.vector(Op.VMULPS, 128, sums, sums, SPARE);
    }
    code.vector(Op.VMOVUPS_STORE, 128, sums, Reg.RDX, at + layout.ends());
  }
}
