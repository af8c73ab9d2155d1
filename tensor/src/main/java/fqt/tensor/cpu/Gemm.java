package fqt.tensor.cpu;

import java.util.concurrent.ConcurrentLinkedDeque;

/**
 * Matrix products of any size: operands are copied block by block into packed arrays, tiles of the
 * result are computed by {@link GemmKernel}. The loops are those of Goto and van de Geijn, "Anatomy
 * of high-performance matrix multiplication" (2008):
 *
 * <pre>
 *   for each BLOCK_COLUMNS columns                a block of b in the last-level cache
 *     for each DEPTH terms
 *       for each BLOCK_ROWS rows
 *         pack a and b                            strips shared out among threads
 *         for each TASK_ROWS x TASK_COLUMNS       shared out; its rows of a in the second level
 *           for each strip of b                   in the first level
 *             for each strip of a                 one tile in registers
 * </pre>
 *
 * Every sum runs over its terms in the same order whoever computes it, so results do not depend on
 * the number of threads.
 */
final class Gemm {
  /** Terms of the sums that one pass adds up: a strip of b takes 32 KiB. */
  static final int DEPTH = 8192 / GemmKernel.COLUMNS;

  /**
   * Distance of two packed rows of a: a little over DEPTH, so that they do not share cache sets.
   */
  static final int A_STRIDE = DEPTH + 16;

  /** Rows of a that one task keeps in the second-level cache: 96 KiB, whole tiles of 6 or 8. */
  private static final int TASK_ROWS = 24576 / DEPTH;

  private static final int TASK_COLUMNS = 512;
  private static final int BLOCK_ROWS = 1536;
  private static final int BLOCK_COLUMNS = 4 * TASK_COLUMNS;

  /** Multiply-adds below which waking other threads costs more than it brings. */
  private static final long WORTH_SHARING = 1 << 18;

  private final Threads threads;
  private final ConcurrentLinkedDeque<Packed> idle = new ConcurrentLinkedDeque<>();

  Gemm(Threads threads) {
    this.threads = threads;
  }

  /** The packed blocks of one product in flight. */
  private static final class Packed {
    float[] a = new float[0];
    float[] b = new float[0];

    void reserve(long rows, long columns, long depth) {
      int forA = roundUp((int) Math.min(rows, BLOCK_ROWS), GemmKernel.ROWS) * A_STRIDE;
      int forB =
          roundUp((int) Math.min(columns, BLOCK_COLUMNS), GemmKernel.COLUMNS)
              * (int) Math.min(depth, DEPTH);
      a = a.length < forA ? new float[forA] : a;
      b = b.length < forB ? new float[forB] : b;
    }
  }

  /** One pass: {@code rows x columns} of the result, {@code depth} terms of the sums. */
  private record Pass(long row, int rows, long column, int columns, long term, int depth) {}

  /** Computes {@code out = alpha * a b + beta * out + bias}. */
  void multiply(Operand a, Operand b, Result out) {
    if (a.outer() == 0 || b.outer() == 0) {
      return;
    }
    Packed packed = idle.pollFirst();
    if (packed == null) {
      packed = new Packed();
    }
    packed.reserve(a.outer(), b.outer(), a.inner());
    for (long column = 0; column < b.outer(); column += BLOCK_COLUMNS) {
      int columns = (int) Math.min(BLOCK_COLUMNS, b.outer() - column);
      long term = 0;
      do {
        int depth = (int) Math.min(DEPTH, a.inner() - term);
        for (long row = 0; row < a.outer(); row += BLOCK_ROWS) {
          int rows = (int) Math.min(BLOCK_ROWS, a.outer() - row);
          if (out.wants(row, rows, column)) {
            pass(a, b, out, packed, new Pass(row, rows, column, columns, term, depth));
          }
        }
        term += depth;
      } while (term < a.inner());
    }
    idle.addFirst(packed);
  }

  private void pass(Operand a, Operand b, Result out, Packed packed, Pass pass) {
    long work = (long) pass.rows * pass.columns * pass.depth;
    boolean shared = work >= WORTH_SHARING;
    long aStrips = Math.ceilDiv(pass.rows, TASK_ROWS);
    long bStrips = Math.ceilDiv(pass.columns, Packing.STRIP);
    long strips = aStrips + bStrips;
    threads.forEach(
        strips,
        shared ? 1 : strips,
        (from, to) -> {
          for (long strip = from; strip < to; strip++) {
            pack(a, b, packed, pass, strip, aStrips);
          }
        });
    long across = Math.ceilDiv(pass.columns, TASK_COLUMNS);
    long tasks = aStrips * across;
    threads.forEach(
        tasks,
        shared ? 1 : tasks,
        (from, to) -> {
          float[] tile = new float[GemmKernel.ROWS * GemmKernel.COLUMNS];
          for (long task = from; task < to; task++) {
            int row = (int) (task / across) * TASK_ROWS;
            int column = (int) (task % across) * TASK_COLUMNS;
            piece(out, packed, pass, row, column, tile);
          }
        });
  }

  private static void pack(
      Operand a, Operand b, Packed packed, Pass pass, long strip, long aStrips) {
    if (strip < aStrips) {
      int row = (int) strip * TASK_ROWS;
      int rows = Math.min(TASK_ROWS, pass.rows - row);
      Packing.left(a, pass.row + row, rows, pass.term, pass.depth, packed.a, row * A_STRIDE);
      return;
    }
    int column = (int) (strip - aStrips) * Packing.STRIP;
    int columns = Math.min(Packing.STRIP, pass.columns - column);
    int at = column * pass.depth;
    Packing.right(b, pass.column + column, columns, pass.term, pass.depth, packed.b, at);
  }

  private static void piece(
      Result out, Packed packed, Pass pass, int firstRow, int firstColumn, float[] tile) {
    int endRow = Math.min(firstRow + TASK_ROWS, pass.rows);
    int endColumn = Math.min(firstColumn + TASK_COLUMNS, pass.columns);
    for (int column = firstColumn; column < endColumn; column += GemmKernel.COLUMNS) {
      int columns = Math.min(GemmKernel.COLUMNS, endColumn - column);
      for (int row = firstRow; row < endRow; row += GemmKernel.ROWS) {
        int rows = Math.min(GemmKernel.ROWS, endRow - row);
        if (out.wants(pass.row + row, rows, pass.column + column)) {
          GemmKernel.multiply(
              pass.depth, packed.a, row * A_STRIDE, A_STRIDE, packed.b, column * pass.depth, tile);
          out.add(tile, pass.row + row, rows, pass.column + column, columns, pass.term == 0);
        }
      }
    }
  }

  static int roundUp(int size, int step) {
    return Math.ceilDiv(size, step) * step;
  }
}
