package fqt.tensor.cpu.asm;

/**
 * The code of {@link TileKernel} for AMX: four tiles of 16 x 16 sums, two of 16 rows of a by 16
 * terms, two of 16 terms by 16 columns of b. What the other kernels read, packed rows of a and
 * strips [depth, 32] of b, is what tiles are loaded from.
 *
 * <p>It goes along a row of such blocks: the rows of a stay in the first-level cache, and the
 * strips of b, which lie behind each other, stream from the second level.
 */
final class AmxCode {
  /** Rows and columns of the four tiles of sums. */
  static final int ROWS = 32;

  private static final int SIDE = 16;
  private static final int TILE_ROW = 64;
  private static final int B_STRIDE = 2 * TILE_ROW;
  private static final int B_STEP = SIDE * B_STRIDE;

  private static final Reg[] SAVED = {Reg.RBX, Reg.RBP, Reg.R12, Reg.R13, Reg.R14, Reg.R15};

  private AmxCode() {}

  /**
   * rdi depth, rsi tiles, rdx a, rcx b, r8 c, r9 stride of c; on the stack the stride of a, the
   * distance of two strips of b, and that of two blocks of c.
   */
  static byte[] code(Op product, boolean adding) {
    Assembler code = new Assembler();
    for (Reg saved : SAVED) {
      code.push(saved);
    }
    shapes(code);
    int stack = (SAVED.length + 1) * Long.BYTES;
    code.load(Reg.RAX, Reg.RSP, stack);
    code.load(Reg.R13, Reg.RSP, stack + Long.BYTES);
    code.load(Reg.R14, Reg.RSP, stack + 2 * Long.BYTES);
    code.move(Reg.R10, B_STRIDE);
    sixteenth(code, Reg.R15, Reg.R9, Reg.R8);
    int tile = code.here();
    sums(code, adding);
    terms(code, product);
    for (int sum = 0; sum < 4; sum++) {
      code.tile(Op.TILESTORED, sum, at(sum));
    }
    code.add(Reg.RCX, Reg.R13);
    code.add(Reg.R8, Reg.R14);
    code.add(Reg.R15, Reg.R14);
    code.decrement(Reg.RSI);
    code.jumpNotZero(tile);
    code.releaseTiles();
    for (int i = SAVED.length - 1; i >= 0; i--) {
      code.pop(SAVED[i]);
    }
    code.ret();
    return code.bytes();
  }

  /** The place of row 16. */
  private static void sixteenth(Assembler code, Reg to, Reg stride, Reg start) {
    code.move(to, stride);
    code.shiftLeft(to, 4);
    code.add(to, start);
  }

  /** Eight tiles of 16 rows of 64 bytes (Intel SDM, volume 1, section 18.3), below the stack. */
  static void shapes(Assembler code) {
    int at = -64;
    code.vector(Op.VXORPS, 256, 0, 0, 0);
    code.vector(Op.VMOVUPS_STORE, 256, 0, Reg.RSP, at);
    code.vector(Op.VMOVUPS_STORE, 256, 0, Reg.RSP, at + 32);
    code.vzeroupper();
    code.move(Reg.RAX, 1);
    code.storeInt(Reg.RAX, Reg.RSP, at);
    code.move(Reg.RAX, TILE_ROW << 16 | TILE_ROW);
    for (int i = 0; i < 4; i++) {
      code.storeInt(Reg.RAX, Reg.RSP, at + 16 + 4 * i);
    }
    code.move(Reg.RAX, 0x01010101 * SIDE);
    code.storeInt(Reg.RAX, Reg.RSP, at + 48);
    code.storeInt(Reg.RAX, Reg.RSP, at + 52);
    code.loadTileShapes(Reg.RSP, at);
  }

  private static void sums(Assembler code, boolean adding) {
    for (int sum = 0; sum < 4; sum++) {
      if (adding) {
        code.tile(Op.TILELOADD, sum, at(sum));
      } else {
        code.zeroTile(sum);
      }
    }
  }

  /** Where a tile of sums lies in c. */
  private static Mem at(int sum) {
    return Mem.at(sum < 2 ? Reg.R8 : Reg.R15, Reg.R9, 1, sum % 2 * TILE_ROW);
  }

  private static void terms(Assembler code, Op product) {
    code.move(Reg.RBX, Reg.RDX);
    sixteenth(code, Reg.R11, Reg.RAX, Reg.RDX);
    code.move(Reg.RBP, Reg.RCX);
    code.move(Reg.R12, Reg.RDI);
    code.shiftRight(Reg.R12, 4);
    int none = code.jumpZero();
    int step = code.here();
    code.tile(Op.TILELOADD, 6, Mem.at(Reg.RBP, Reg.R10, 1, 0));
    code.tile(Op.TILELOADD, 4, Mem.at(Reg.RBX, Reg.RAX, 1, 0));
    code.tiles(product, 0, 4, 6);
    code.tile(Op.TILELOADD, 7, Mem.at(Reg.RBP, Reg.R10, 1, TILE_ROW));
    code.tiles(product, 1, 4, 7);
    code.tile(Op.TILELOADD, 5, Mem.at(Reg.R11, Reg.RAX, 1, 0));
    code.tiles(product, 2, 5, 6);
    code.tiles(product, 3, 5, 7);
    code.add(Reg.RBX, TILE_ROW);
    code.add(Reg.R11, TILE_ROW);
    code.add(Reg.RBP, B_STEP);
    code.decrement(Reg.R12);
    code.jumpNotZero(step);
    code.land(none);
  }
}
