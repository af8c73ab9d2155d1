package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * A matrix microkernel as machine code: {@code c = a b} or {@code c += a b} for a column of tiles,
 * one under the other, or with AMX for a row of them. A tile is {@code rows} x {@code columns}; its
 * sums stay in registers while the terms run past:
 *
 * <pre>
 *   256 bit   6 x 16: 12 sums, 2 vectors of b, 1 or 2 broadcast values of a: all 16 registers
 *   512 bit  12 x 32: 24 sums, 2 vectors of b, 1 or 2 broadcast values of a: 28 of 32
 *   AMX      32 x 32: 4 tiles of sums, 2 of a, 2 of b
 * </pre>
 *
 * A term is four bytes of a row of a and of a column of b; {@link Kind} says what they hold.
 *
 * <p>F32 sums run over the terms in ascending order with fused multiply-adds, then alpha and c are
 * applied one rounding each, as the Vector API tier does it: both give the same bits.
 */
public final class TileKernel {
  /** What a term holds and how terms are multiplied. */
  public enum Kind {
    /** One f32 each. */
    F32,
    /** Two i16 each, multiplied and added to i32. */
    PAIRS,
    /** Four u8 of a and four s8 of b, added to i32: AVX512-VNNI. */
    QUADS,
    /** The same in the encoding of AVX-VNNI, for 256 bits. */
    VEX_QUADS,
    /** Two bf16 each, multiplied and added to f32: AVX512-BF16. */
    BF16_PAIRS,
    /** Four s8 each, added to i32 in tiles: AMX. */
    AMX_QUADS,
    /** Two bf16 each, added to f32 in tiles: AMX. */
    AMX_PAIRS;

    /** Whether sums are f32. */
    boolean isFloat() {
      return this == F32 || this == BF16_PAIRS || this == AMX_PAIRS;
    }

    /** Whether the processor's tiles hold the sums; then terms come in multiples of 16. */
    public boolean isTiled() {
      return this == AMX_QUADS || this == AMX_PAIRS;
    }
  }

  private final Kind kind;
  private final int bits;
  private final int aStride;
  private final int rows;
  private final int columns;
  private final int ahead;
  private final MachineFunction set;
  private final MachineFunction add;

  /** For half as many rows, by AMX. */
  private final MachineFunction setHalf;

  private final MachineFunction addHalf;

  /**
   * Assembles the kernel.
   *
   * @param kind what is multiplied
   * @param bits width of the vectors, 256 or 512
   * @param aStride distance of two packed rows of a, in terms
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public TileKernel(Kind kind, int bits, int aStride) throws ExecutableMemory.Refused {
    this(kind, bits, aStride, 0);
  }

  /**
   * Assembles the kernel.
   *
   * @param ahead how many rows of what is wanted next it asks for while it computes a tile: 0; 1
   *     where there are about {@link #columns()} tiles, so that each row is asked for once; {@link
   *     #AHEAD} where there are several, or twice as many for two or three
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public TileKernel(Kind kind, int bits, int aStride, int ahead) throws ExecutableMemory.Refused {
    this.ahead = ahead;
    this.kind = kind;
    this.bits = bits;
    this.rows = kind.isTiled() ? 2 * AmxCode.SIDE : bits == 512 ? 12 : 6;
    this.columns = 2 * bits / Float.SIZE;
    this.aStride = aStride * Float.BYTES;
    if (kind.isTiled()) {
      this.set = new MachineFunction(12, amxCode(false, 2));
      this.add = new MachineFunction(12, amxCode(true, 2));
      this.setHalf = new MachineFunction(12, amxCode(false, 1));
      this.addHalf = new MachineFunction(12, amxCode(true, 1));
    } else {
      this.set = new MachineFunction(10, vectorCode(false));
      this.add = new MachineFunction(10, vectorCode(true));
      this.setHalf = null;
      this.addHalf = null;
    }
  }

  /** What is multiplied. */
  public Kind kind() {
    return kind;
  }

  /** Rows of a tile. */
  public int rows() {
    return rows;
  }

  /** Columns of a tile. */
  public int columns() {
    return columns;
  }

  /** What the number of terms is a multiple of. */
  public int termsAtOnce() {
    return kind.isTiled() ? 16 : 1;
  }

  /** Rows of sums below which the additions of a tile wait for each other. */
  private static final int FEW_ROWS = 4;

  /**
   * Computes so many rows of sums, tile under tile, the last with as many rows as are left; not for
   * AMX.
   *
   * @param depth terms of each sum
   * @param height rows
   * @param a the first packed row
   * @param b a strip [depth, columns]
   * @param c the first element of the result
   * @param cStride distance of two rows of the result, in bytes
   * @param alpha factor of F32 sums; integers have none
   * @param adding whether to add to c or to overwrite it
   */
  public void multiply(
      long depth,
      long height,
      MemorySegment a,
      MemorySegment b,
      MemorySegment c,
      long cStride,
      float alpha,
      boolean adding) {
    multiply(depth, height, address(a), address(b), address(c), cStride, alpha, adding);
    keep(a, b, c);
  }

  /**
   * The same by addresses: slices of segments would be garbage, and threads that both hold memory
   * of the same arena would count its users by turns. The caller keeps the memory alive.
   */
  public void multiply(
      long depth, long height, long a, long b, long c, long cStride, float alpha, boolean adding) {
    multiply(depth, height, a, b, c, cStride, alpha, adding, a, 0);
  }

  /**
   * The same, asking for what comes next, if the kernel was made to.
   *
   * @param next the first of rows of as many terms, which need not be there: asking never fails
   * @param nextStride distance of two of these rows, in bytes
   */
  public void multiply(
      long depth,
      long height,
      long a,
      long b,
      long c,
      long cStride,
      float alpha,
      boolean adding,
      long next,
      long nextStride) {
    long rest = height % rows;
    boolean even = rest > 0 && rest < FEW_ROWS && height > rows;
    long last = even ? (rows + rest) / 2 : 0;
    long first = height - last;
    run(depth, first, a, b, c, cStride, alpha, adding, next, nextStride);
    if (even) {
      long tiles = Math.ceilDiv(first, rows);
      run(
          depth,
          last,
          a + first * aStride,
          b,
          c + first * cStride,
          cStride,
          alpha,
          adding,
          next + tiles * ahead * nextStride,
          nextStride);
    }
  }

  private void run(
      long depth,
      long height,
      long a,
      long b,
      long c,
      long cStride,
      float alpha,
      boolean adding,
      long next,
      long nextStride) {
    long tiles = height / rows;
    long rest = height % rows;
    int factor = Float.floatToRawIntBits(alpha);
    (adding ? add : set).call(depth, tiles, a, b, c, cStride, factor, rest, next, nextStride);
  }

  /**
   * By AMX, a row of tiles: {@code tiles} strips of b with the same rows of a. The caller keeps the
   * memory alive.
   *
   * @param half whether only the first half of {@link #rows} is wanted
   * @param depth terms of each sum, a multiple of 16
   * @param a address of the first of its rows
   * @param aStride distance of two rows of a, in bytes
   * @param b address of the first strip [depth, columns]
   * @param bPitch distance of two strips, in bytes
   * @param c address of the first element of the first tile
   * @param cStride distance of two rows of c, in bytes
   * @param cStep distance of two tiles in c, in bytes
   * @param adding whether to add to c or to overwrite it
   * @param next what will be written next, tiles side by side, which is asked for meanwhile; it
   *     need not be there: asking never fails. 0 for nothing
   * @param nextStride distance of two of its rows, in bytes
   */
  public void multiplyRow(
      boolean half,
      long depth,
      long tiles,
      long a,
      long aStride,
      long b,
      long bPitch,
      long c,
      long cStride,
      long cStep,
      boolean adding,
      long next,
      long nextStride) {
    long steps = depth / TileCode.UNROLL;
    long asking = next == 0 ? 0 : Math.min(steps, AmxCode.ASKING);
    MachineFunction function = half ? (adding ? addHalf : setHalf) : (adding ? add : set);
    function.call(
        asking, tiles, a, b, c, cStride, aStride, bPitch, cStep, steps - asking, next, nextStride);
  }

  private byte[] amxCode(boolean adding, int rows) {
    return AmxCode.code(kind == Kind.AMX_QUADS ? Op.TDPBSSD : Op.TDPBF16PS, adding, rows);
  }

  /** Rows of what is wanted next that registers hold together. */
  public static final int AHEAD = 4;

  /**
   * rdi depth, rsi whole tiles, rdx a, rcx b, r8 c, r9 stride of c; on the stack alpha, the rows
   * that are left, and what is wanted next with the distance of its rows.
   */
  private byte[] vectorCode(boolean adding) {
    Assembler code = new Assembler();
    code.saveAll();
    if (ahead > 0) {
      code.load(Reg.R15, Reg.RSP, Assembler.STACK_ARGUMENTS + 16);
      code.load(Reg.R12, Reg.RSP, Assembler.STACK_ARGUMENTS + 24);
      code.triple(Reg.R13, Reg.R12);
    }
    TileCode.heights(code, rows, rows * aStride, height -> tile(code, height, adding));
    return code.bytes();
  }

  private void tile(Assembler code, int height, boolean adding) {
    code.move(Reg.R10, Reg.RCX);
    code.move(Reg.R11, Reg.RDX);
    if (ahead > 0) {
      code.move(Reg.RBP, Reg.R15);
      code.move(Reg.R14, Reg.R15);
      code.add(Reg.R14, Reg.R12);
      code.add(Reg.R14, Reg.R13);
    }
    for (int sum = 0; sum < 2 * height; sum++) {
      code.vector(Op.VXORPS, 256, sum, sum, sum);
    }
    TileCode.terms(code, () -> ask(code, height), count -> steps(code, height, count));
    store(code, height, adding);
    if (ahead > 0) {
      for (int row = 0; row < ahead % AHEAD; row++) {
        code.add(Reg.R15, Reg.R12);
      }
      for (int row = 0; row < ahead / AHEAD; row++) {
        code.add(Reg.R15, Reg.R12);
        code.add(Reg.R15, Reg.R13);
      }
    }
  }

  /**
   * The rows of the next tile, which come from the second-level cache or from further away, and
   * what is wanted after all tiles.
   */
  private void ask(Assembler code, int height) {
    for (int row = 0; row < rows && height == rows; row++) {
      code.prefetch(Mem.at(Reg.R11, (rows + row) * aStride));
    }
    if (ahead > 0) {
      askForNext(code);
    }
  }

  private void askForNext(Assembler code) {
    for (int row = 0; row < ahead; row++) {
      Reg first = row < AHEAD ? Reg.RBP : Reg.R14;
      code.prefetchSecond(Mem.inRow(first, Reg.R12, Reg.R13, row % AHEAD, 0));
    }
    code.add(Reg.RBP, TileCode.UNROLL * Float.BYTES);
    code.add(Reg.R14, TileCode.UNROLL * Float.BYTES);
  }

  private void steps(Assembler code, int height, int count) {
    int u = 2 * rows;
    for (int k = 0; k < count; k++) {
      int at = k * columns * Float.BYTES;
      code.vector(Op.VMOVUPS, bits, u, Reg.R10, at);
      code.vector(Op.VMOVUPS, bits, u + 1, Reg.R10, at + bits / 8);
      for (int row = 0; row < height; row++) {
        int from = row * aStride + k * Float.BYTES;
        if (kind == Kind.PAIRS) {
          code.vector(Op.VPBROADCASTD, bits, u + 2, Reg.R11, from);
          accumulatePairs(code, 2 * row, u);
        } else {
          int x = u + 2 + row % 2;
          code.vector(kind == Kind.F32 ? Op.VBROADCASTSS : Op.VPBROADCASTD, bits, x, Reg.R11, from);
          accumulate(code, 2 * row, x, u);
          accumulate(code, 2 * row + 1, x, u + 1);
        }
      }
    }
    code.add(Reg.R10, count * columns * Float.BYTES);
    code.add(Reg.R11, count * Float.BYTES);
  }

  /** Two products and only then two sums: neither waits for the other. */
  private void accumulatePairs(Assembler code, int sum, int u) {
    int x = u + 2;
    int product = u + 3;
    code.vector(Op.VPMADDWD, bits, product, x, u);
    code.vector(Op.VPMADDWD, bits, x, x, u + 1);
    code.vector(Op.VPADDD, bits, sum, sum, product);
    code.vector(Op.VPADDD, bits, sum + 1, sum + 1, x);
  }

  private void accumulate(Assembler code, int sum, int x, int b) {
    switch (kind) {
      case F32 -> code.vector(Op.VFMADD231PS, bits, sum, x, b);
      case QUADS -> code.vector(Op.VPDPBUSD, bits, sum, x, b);
      case VEX_QUADS -> code.vexDotBytes(bits, sum, x, b);
      case BF16_PAIRS -> code.vector(Op.VDPBF16PS, bits, sum, x, b);
      case PAIRS, AMX_QUADS, AMX_PAIRS -> throw new AssertionError(kind);
    }
  }

  private void store(Assembler code, int height, boolean adding) {
    int alpha = 2 * rows;
    if (kind.isFloat()) {
      code.vector(Op.VBROADCASTSS, bits, alpha, Reg.RSP, Assembler.STACK_ARGUMENTS);
    }
    for (int row = 0; row < height; row++) {
      for (int half = 0; half < 2; half++) {
        int sum = 2 * row + half;
        if (kind.isFloat()) {
          code.vector(Op.VMULPS, bits, sum, sum, alpha);
        }
        if (adding) {
          Op add = kind.isFloat() ? Op.VADDPS : Op.VPADDD;
          code.vector(add, bits, sum, sum, Reg.R8, half * bits / 8);
        }
        code.vector(Op.VMOVUPS_STORE, bits, sum, Reg.R8, half * bits / 8);
      }
      code.add(Reg.R8, Reg.R9);
    }
  }
}
