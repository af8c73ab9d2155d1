package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * Dot products of up to 16 rows of x with many rows of a weight by AMX. The weight is loaded from
 * where it lies, 16 rows by 64 bytes a tile; what is arranged for the tiles is x:
 *
 * <pre>
 *   sums [16 rows of w, 16 rows of x] += tile of w [16, 64 bytes] times tile of x [16 words, 16]
 * </pre>
 *
 * A word is four bytes of a row of x: four s8, or two bf16. The table of x holds for every 64 bytes
 * of a row of w one tile or several, whose products are all added: f32 is the sum of three bf16.
 */
public final class TileDotKernel {
  /** Rows of the weight, and of x, in a tile; words of a row of x in a tile. */
  public static final int SIDE = 16;

  /** Bytes of a row of the weight in a tile. */
  public static final int STEP = 64;

  /** Bytes of a tile. */
  public static final int TILE = SIDE * STEP;

  private static final int SUMS = 0;
  private static final int X = 2;
  private static final int W = 1;

  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param integer whether words are s8 and sums i32, not bf16 and f32
   * @param parts tiles of x for each tile of w
   * @param ahead whether to ask for the next 16 rows of w while some are multiplied
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public TileDotKernel(boolean integer, int parts, boolean ahead) throws ExecutableMemory.Refused {
    Op product = integer ? Op.TDPBSSD : Op.TDPBF16PS;
    function = new MachineFunction(6, code(product, parts, ahead));
  }

  /**
   * Computes {@code blocks} tiles of sums.
   *
   * @param steps runs of 64 bytes of a row of w
   * @param blocks runs of 16 rows of w
   * @param x the table of x
   * @param w the first row of the weight, {@code wStride} bytes from the next
   * @param sums tiles one after the other, for each row of w the sums with 16 rows of x
   */
  public void multiply(
      long steps, long blocks, MemorySegment x, MemorySegment w, long wStride, MemorySegment sums) {
    function.call(steps, blocks, address(x), address(w), wStride, address(sums));
    keep(x, w, sums);
  }

  /** rdi steps, rsi blocks, rdx x, rcx w, r8 stride of w, r9 sums. */
  private static byte[] code(Op product, int parts, boolean ahead) {
    Assembler code = new Assembler();
    code.push(Reg.RBX);
    code.push(Reg.RBP);
    AmxCode.shapes(code);
    code.move(Reg.RAX, STEP);
    int block = code.here();
    code.move(Reg.R10, Reg.RDX);
    code.move(Reg.R11, Reg.RCX);
    code.move(Reg.RBX, Reg.RDI);
    code.move(Reg.RBP, Reg.R8);
    code.shiftLeft(Reg.RBP, 4);
    code.add(Reg.RCX, Reg.RBP);
    code.move(Reg.RBP, Reg.RCX);
    code.zeroTile(SUMS);
    int step = code.here();
    code.tile(Op.TILELOADD, W, Mem.at(Reg.R11, Reg.R8, 1, 0));
    for (int part = 0; part < parts; part++) {
      code.tile(Op.TILELOADD, X + part, Mem.at(Reg.R10, Reg.RAX, 1, part * TILE));
      code.tiles(product, SUMS, W, X + part);
    }
    for (int line = 0; ahead && line < SIDE; line++) {
      code.prefetchSecond(Mem.at(Reg.RBP, line * STEP));
    }
    code.add(Reg.R10, parts * TILE);
    code.add(Reg.R11, STEP);
    code.add(Reg.RBP, TILE);
    code.decrement(Reg.RBX);
    code.jumpNotZero(step);
    code.tile(Op.TILESTORED, SUMS, Mem.at(Reg.R9, Reg.RAX, 1, 0));
    code.add(Reg.R9, TILE);
    code.decrement(Reg.RSI);
    code.jumpNotZero(block);
    code.releaseTiles();
    code.pop(Reg.RBP);
    code.pop(Reg.RBX);
    code.ret();
    return code.bytes();
  }
}
