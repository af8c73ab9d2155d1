package fqt.tensor.cpu.asm;

/**
 * The code of {@link TileKernel} for AMX: four tiles of 16 x 16 sums, two of 16 rows of a by 16
 * terms, two of 16 terms by 16 columns of b; or half of that, for 16 rows. What the other kernels
 * read, packed rows of a and strips [depth, 32] of b, is what tiles are loaded from.
 *
 * <p>It goes along a row of such blocks: the rows of a stay in the first-level cache, and the
 * strips of b, which lie behind each other, stream from the second level or from memory. Loads of
 * tiles do not make the processor fetch ahead, so the kernel asks for b two steps before, and
 * during the first steps of a block for where its result will be.
 */
final class AmxCode {
  /** Rows and columns of a tile of sums. */
  static final int SIDE = 16;

  /** Steps over 16 terms that ask for the result, two rows each if there are 32. */
  static final int ASKING = 16;

  private static final int TILE_ROW = 64;
  private static final int B_STRIDE = 2 * TILE_ROW;
  private static final int B_STEP = SIDE * B_STRIDE;

  // Arguments on the stack: after the registers, and those in the loop over tiles after one more.
  private static final int A_STRIDE = Assembler.STACK_ARGUMENTS;
  private static final int PITCH = A_STRIDE + 2 * Long.BYTES;
  private static final int STEP = A_STRIDE + 3 * Long.BYTES;
  private static final int SILENT = A_STRIDE + 4 * Long.BYTES;
  private static final int RESULT = A_STRIDE + 4 * Long.BYTES;
  private static final int RESULT_STRIDE = A_STRIDE + 5 * Long.BYTES;

  private AmxCode() {}

  /**
   * rdi steps that ask for the result, rsi tiles, rdx a, rcx b, r8 c, r9 stride of c; on the stack
   * the stride of a, the distance of two strips of b, that of two blocks of c, the steps that do
   * not ask, the place of the first block of the result, and its stride.
   *
   * @param rows of tiles: 1 or 2
   */
  static byte[] code(Op product, boolean adding, int rows) {
    Assembler code = new Assembler();
    code.saveAll();
    shapes(code);
    code.load(Reg.RAX, Reg.RSP, A_STRIDE);
    code.load(Reg.R13, Reg.RSP, RESULT);
    code.load(Reg.R14, Reg.RSP, RESULT_STRIDE);
    code.move(Reg.R10, B_STRIDE);
    sixteenth(code, Reg.R15, Reg.R9, Reg.R8);
    int tile = code.here();
    code.push(Reg.R13);
    sums(code, adding, rows);
    terms(code, product, rows);
    for (int sum = 0; sum < 2 * rows; sum++) {
      code.tile(Op.TILESTORED, sum, at(sum));
    }
    code.load(Reg.RBX, Reg.RSP, PITCH);
    code.add(Reg.RCX, Reg.RBX);
    code.load(Reg.RBX, Reg.RSP, STEP);
    code.add(Reg.R8, Reg.RBX);
    code.add(Reg.R15, Reg.RBX);
    code.pop(Reg.R13);
    code.add(Reg.R13, B_STRIDE);
    code.decrement(Reg.RSI);
    code.jumpNotZero(tile);
    code.releaseTiles();
    code.restoreAllAndReturn();
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

  private static void sums(Assembler code, boolean adding, int rows) {
    for (int sum = 0; sum < 2 * rows; sum++) {
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

  private static void terms(Assembler code, Op product, int rows) {
    code.move(Reg.RBX, Reg.RDX);
    sixteenth(code, Reg.R11, Reg.RAX, Reg.RDX);
    code.move(Reg.RBP, Reg.RCX);
    code.move(Reg.R12, Reg.RDI);
    steps(code, product, rows, true);
    code.load(Reg.R12, Reg.RSP, SILENT);
    steps(code, product, rows, false);
  }

  /** As many steps as r12 says. */
  private static void steps(Assembler code, Op product, int rows, boolean asking) {
    code.test(Reg.R12);
    int none = code.jumpZero();
    int step = code.here();
    for (int row = 0; asking && row < rows; row++) {
      code.prefetchSecond(Mem.at(Reg.R13, 0));
      code.prefetchSecond(Mem.at(Reg.R13, TILE_ROW));
      code.add(Reg.R13, Reg.R14);
    }
    for (int line = 0; line < B_STEP; line += TILE_ROW) {
      code.prefetch(Mem.at(Reg.RBP, 2 * B_STEP + line));
    }
    code.tile(Op.TILELOADD, 6, Mem.at(Reg.RBP, Reg.R10, 1, 0));
    code.tile(Op.TILELOADD, 4, Mem.at(Reg.RBX, Reg.RAX, 1, 0));
    code.tiles(product, 0, 4, 6);
    code.tile(Op.TILELOADD, 7, Mem.at(Reg.RBP, Reg.R10, 1, TILE_ROW));
    code.tiles(product, 1, 4, 7);
    if (rows == 2) {
      code.tile(Op.TILELOADD, 5, Mem.at(Reg.R11, Reg.RAX, 1, 0));
      code.tiles(product, 2, 5, 6);
      code.tiles(product, 3, 5, 7);
      code.add(Reg.R11, TILE_ROW);
    }
    code.add(Reg.RBX, TILE_ROW);
    code.add(Reg.RBP, B_STEP);
    code.decrement(Reg.R12);
    code.jumpNotZero(step);
    code.land(none);
  }
}
