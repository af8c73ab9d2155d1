package fqt.tensor.cpu.asm;

import java.util.function.IntConsumer;

/** The loops that kernels of tiles under each other share: over tiles, and over the terms. */
final class TileCode {
  /** Terms of a run of the loop: a cache line of each row of a. */
  static final int UNROLL = 16;

  private TileCode() {}

  /**
   * As many whole tiles as rsi says, then one of the rows that are left, which the second argument
   * on the stack says; then the function returns. The caller's registers were saved.
   *
   * @param rows of a whole tile
   * @param step distance of two tiles from rdx on, in bytes
   * @param tile writes a tile of so many rows
   */
  static void heights(Assembler code, int rows, int step, IntConsumer tile) {
    code.test(Reg.RSI);
    int noneWhole = code.jumpZero();
    int whole = code.here();
    tile.accept(rows);
    code.add(Reg.RDX, step);
    code.decrement(Reg.RSI);
    code.jumpNotZero(whole);
    code.land(noneWhole);
    code.load(Reg.RSI, Reg.RSP, Assembler.STACK_ARGUMENTS + Long.BYTES);
    int[] parts = new int[rows];
    for (int height = 1; height < rows; height++) {
      code.decrement(Reg.RSI);
      parts[height] = code.jumpZero();
    }
    end(code);
    for (int height = 1; height < rows; height++) {
      code.land(parts[height]);
      tile.accept(height);
      end(code);
    }
  }

  private static void end(Assembler code) {
    code.vzeroupper();
    code.restoreAllAndReturn();
  }

  /**
   * As many terms as rdi says, sixteen at a time and then one by one; uses rax and rbx.
   *
   * @param ask writes what is asked for with sixteen terms
   * @param steps writes the products of so many terms
   */
  static void terms(Assembler code, Runnable ask, IntConsumer steps) {
    code.move(Reg.RAX, Reg.RDI);
    code.move(Reg.RBX, Reg.RDI);
    code.and(Reg.RBX, UNROLL - 1);
    code.shiftRight(Reg.RAX, Integer.numberOfTrailingZeros(UNROLL));
    int noneWhole = code.jumpZero();
    int whole = code.here();
    ask.run();
    steps.accept(UNROLL);
    code.decrement(Reg.RAX);
    code.jumpNotZero(whole);
    code.land(noneWhole);
    code.test(Reg.RBX);
    int noneLeft = code.jumpZero();
    int left = code.here();
    steps.accept(1);
    code.decrement(Reg.RBX);
    code.jumpNotZero(left);
    code.land(noneLeft);
  }
}
