package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.TileDotKernel;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Up to 16 rows of x as the tables of {@link TileDotKernel}: words of four bytes, turned so that
 * those that meet the same bytes of the weight lie side by side. Words travel in the guise of
 * floats, which are only ever moved.
 */
final class TileRows {
  private static final int SIDE = TileDotKernel.SIDE;
  private static final int TILE = SIDE * SIDE;

  /** The upper half of an f32: a bf16, rounded towards zero. */
  private static final int UPPER = 0xffff0000;

  private static final int EXPONENT = 0x7f800000;

  /** Numbers of bf16 that add up to any f32. */
  private static final int TERMS_OF_F32 = 3;

  private final int rows;
  private final int words;
  private final int parts;
  private final float[] table;

  /** An empty table for whole steps of {@link TileDotKernel#STEP} bytes. */
  private TileRows(int rows, int words, int parts) {
    this.rows = rows;
    this.words = words;
    this.parts = parts;
    this.table = new float[words * SIDE * parts];
  }

  /** Tiles of x for each one of a weight of bf16. */
  static int parts(Operand x) {
    return Bf16Terms.fits(x) ? 1 : TERMS_OF_F32;
  }

  /**
   * The table of rows of f32, whole steps each: as they are if one part is enough for them, else as
   * a sum of bf16 numbers that is exact.
   */
  static float[] of(float[] x, int rows, int parts) {
    int depth = x.length / rows;
    TileRows result = new TileRows(rows, depth / 2, parts);
    float[] pairs = new float[rows * result.words];
    float[] rest = parts == 1 ? x : x.clone();
    for (int part = 0; part < parts; part++) {
      for (int m = 0; m < rows; m++) {
        pack(rest, m * depth, pairs, m * result.words, result.words);
      }
      result.turn(pairs, part);
      if (part + 1 < parts) {
        subtractUpper(rest);
      }
    }
    return result.table;
  }

  private static void pack(float[] x, int from, float[] pairs, int at, int count) {
    for (int i = 0; i < count; i++) {
      int even = Float.floatToIntBits(x[from + 2 * i]);
      int odd = Float.floatToIntBits(x[from + 2 * i + 1]);
      pairs[at + i] = Float.intBitsToFloat(even >>> Short.SIZE | odd & UPPER);
    }
  }

  /** What the upper halves leave; nothing of what is not finite. */
  private static void subtractUpper(float[] x) {
    for (int i = 0; i < x.length; i++) {
      int bits = Float.floatToRawIntBits(x[i]);
      float rest = x[i] - Float.intBitsToFloat(bits & UPPER);
      x[i] = (bits & EXPONENT) == EXPONENT ? 0 : rest;
    }
  }

  /** The table of rows of s8, whole steps each. */
  static float[] of(byte[][] x) {
    TileRows result = new TileRows(x.length, x[0].length / Integer.BYTES, 1);
    float[] quads = new float[x.length * result.words];
    for (int m = 0; m < x.length; m++) {
      MemorySegment row = MemorySegment.ofArray(x[m]);
      MemorySegment.copy(row, ANY_FLOAT, 0, quads, m * result.words, result.words);
    }
    result.turn(quads, 0);
    return result.table;
  }

  private static final ValueLayout.OfFloat ANY_FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private void turn(float[] lines, int part) {
    for (int step = 0; step < words / SIDE; step++) {
      int to = (step * parts + part) * TILE;
      Transpose.copy(lines, step * SIDE, words, rows, SIDE, table, to, SIDE);
    }
  }

  /**
   * The sums of some rows of the weight with all rows of x.
   *
   * @param w the first row of the weight, {@code stride} bytes from the next
   */
  static void multiply(
      TileDotKernel kernel,
      long steps,
      MemorySegment table,
      int rows,
      MemorySegment w,
      long stride,
      Streaming.Sums sums) {
    int whole = sums.count / SIDE;
    MemorySegment tiles = sums.tiles();
    if (whole > 0) {
      kernel.multiply(steps, whole, table, w, stride, tiles);
    }
    if (whole > 0 && whole * SIDE < sums.count) {
      // The last rows once more, together with those that are left: each sum is its row's alone.
      int first = sums.count - SIDE;
      MemorySegment to = tiles.asSlice((long) first * TileDotKernel.STEP);
      kernel.multiply(steps, 1, table, w.asSlice(first * stride), stride, to);
    }
    for (int n = 0; whole == 0 && n < sums.count; n++) {
      // The same row sixteen times: nothing is read that is not there.
      MemorySegment to = tiles.asSlice((long) n * TileDotKernel.STEP);
      kernel.multiply(steps, 1, table, w.asSlice(n * stride), 0, to);
    }
    float[] lines = new float[sums.count * SIDE];
    float[] turned = new float[rows * sums.count];
    MemorySegment.copy(tiles, Element.FLOAT, 0, lines, 0, lines.length);
    Transpose.copy(lines, 0, SIDE, sums.count, rows, turned, 0, sums.count);
    for (int m = 0; m < rows; m++) {
      MemorySegment.copy(turned, m * sums.count, sums.at(m, 0), Element.FLOAT, 0, sums.count);
    }
  }
}
