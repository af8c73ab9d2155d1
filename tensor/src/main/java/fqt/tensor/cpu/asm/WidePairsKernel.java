package fqt.tensor.cpu.asm;

/**
 * The product of {@link TileKernel.Kind#PAIRS} for 256-bit vectors in tiles of 3 x 32: 12 sums, and
 * two strips of b that stand apart. Four vectors of b for each value of a are 28 instructions for
 * as many products as 32 in tiles of 6 x 16. Where nothing disturbs the core both wait for the same
 * two units; where it shares its front end with another thread, instructions are what counts.
 *
 * <p>While it multiplies it asks for the two strips that come next, each line about once.
 */
public final class WidePairsKernel {
  /** Rows of a tile. */
  public static final int ROWS = 3;

  /** Strips that a tile is wide. */
  public static final int STRIPS = 2;

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;

  /** Vectors of a tile's row. */
  private static final int VECTORS = 2 * STRIPS;

  /** Bytes of a term of a strip, and of a row of its sums. */
  private static final int STRIP = 2 * BYTES;

  private static final int B = ROWS * VECTORS;
  private static final int X = B + 1;
  private static final int FIRST = X + 1;
  private static final int SECOND = FIRST + 1;

  private final int aStride;
  private final MachineFunction set;
  private final MachineFunction add;

  /**
   * Assembles the kernel.
   *
   * @param aStride distance of two packed rows of a, in terms
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public WidePairsKernel(int aStride) throws ExecutableMemory.Refused {
    this.aStride = aStride * Float.BYTES;
    this.set = new MachineFunction(10, code(false));
    this.add = new MachineFunction(10, code(true));
  }

  /**
   * Computes rows of sums of two strips. Places are addresses; the caller keeps the memory alive.
   *
   * @param depth terms of each sum
   * @param height rows, at least 1
   * @param a the first packed row
   * @param b a strip [depth, 16]
   * @param bPitch distance to the other strip, in bytes
   * @param c the sums of the first strip, [height, 16]
   * @param cPitch distance to those of the other, in bytes
   * @param adding whether to add to c or to overwrite it
   * @param next a strip that is wanted next, with another {@code bPitch} behind it; it need not be
   *     there: asking never fails
   */
  public void multiply(
      long depth,
      long height,
      long a,
      long b,
      long bPitch,
      long c,
      long cPitch,
      boolean adding,
      long next) {
    long tiles = height / ROWS;
    long rest = height % ROWS;
    long step = Math.min(STRIP, (long) TileCode.UNROLL * STRIP / Math.max(1, tiles));
    (adding ? add : set).call(depth, tiles, a, b, bPitch, c, cPitch, rest, next, step);
  }

  /**
   * rdi depth, rsi whole tiles, rdx a, rcx b, r8 pitch of b, r9 c; on the stack the pitch of c, the
   * rows that are left, what is wanted next, and how far to go on in it with each run of the loop.
   * r13, r14 walk through what is wanted next, r15 is the second c.
   */
  private byte[] code(boolean adding) {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.R15, Reg.RSP, Assembler.STACK_ARGUMENTS);
    code.add(Reg.R15, Reg.R9);
    code.load(Reg.R13, Reg.RSP, Assembler.STACK_ARGUMENTS + 16);
    code.move(Reg.R14, Reg.R13);
    code.add(Reg.R14, Reg.R8);
    code.load(Reg.RBP, Reg.RSP, Assembler.STACK_ARGUMENTS + 24);
    TileCode.heights(code, ROWS, ROWS * aStride, height -> tile(code, height, adding));
    return code.bytes();
  }

  /** r10 and r12 walk through the strips, r11 through the rows. */
  private void tile(Assembler code, int height, boolean adding) {
    code.move(Reg.R10, Reg.RCX);
    code.move(Reg.R12, Reg.RCX);
    code.add(Reg.R12, Reg.R8);
    code.move(Reg.R11, Reg.RDX);
    for (int sum = 0; sum < VECTORS * height; sum++) {
      code.vector(Op.VXORPS, BITS, sum, sum, sum);
    }
    TileCode.terms(code, () -> ask(code, height), count -> steps(code, height, count));
    for (int row = 0; row < height; row++) {
      for (int half = 0; half < VECTORS; half++) {
        Reg to = half < 2 ? Reg.R9 : Reg.R15;
        int sum = VECTORS * row + half;
        int at = row * STRIP + half % 2 * BYTES;
        if (adding) {
          code.vector(Op.VPADDD, BITS, sum, sum, to, at);
        }
        code.vector(Op.VMOVUPS_STORE, BITS, sum, to, at);
      }
    }
    code.add(Reg.R9, height * STRIP);
    code.add(Reg.R15, height * STRIP);
  }

  /** The next tile's rows, and a part of the next strips. */
  private void ask(Assembler code, int height) {
    for (int row = 0; row < ROWS && height == ROWS; row++) {
      code.prefetch(Mem.at(Reg.R11, (ROWS + row) * aStride));
    }
    for (Reg next : new Reg[] {Reg.R13, Reg.R14}) {
      code.prefetchSecond(Mem.at(next, 0));
      code.add(next, Reg.RBP);
    }
  }

  /** Two products and only then two sums: neither waits for the other. */
  private void steps(Assembler code, int height, int count) {
    for (int k = 0; k < count; k++) {
      int at = k * STRIP;
      code.vector(Op.VMOVUPS, BITS, B, Reg.R10, at);
      for (int row = 0; row < height; row++) {
        int sum = VECTORS * row;
        code.vector(Op.VPBROADCASTD, BITS, X, Reg.R11, row * aStride + k * Float.BYTES);
        code.vector(Op.VPMADDWD, BITS, FIRST, X, B);
        code.vector(Op.VPMADDWD, BITS, SECOND, X, Reg.R10, at + BYTES);
        code.vector(Op.VPADDD, BITS, sum, sum, FIRST);
        code.vector(Op.VPADDD, BITS, sum + 1, sum + 1, SECOND);
        code.vector(Op.VPMADDWD, BITS, FIRST, X, Reg.R12, at);
        code.vector(Op.VPMADDWD, BITS, X, X, Reg.R12, at + BYTES);
        code.vector(Op.VPADDD, BITS, sum + 2, sum + 2, FIRST);
        code.vector(Op.VPADDD, BITS, sum + 3, sum + 3, X);
      }
    }
    code.add(Reg.R10, count * STRIP);
    code.add(Reg.R12, count * STRIP);
    code.add(Reg.R11, count * Float.BYTES);
  }
}
