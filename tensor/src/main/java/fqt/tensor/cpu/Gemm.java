package fqt.tensor.cpu;

import java.util.Arrays;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.Supplier;

/**
 * Matrix products of any size: operands are copied block by block into packed arrays, tiles of the
 * result are computed by the kernel of {@link Panels}. The loops are those of Goto and van de
 * Geijn, "Anatomy of high-performance matrix multiplication" (2008):
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

  /** Rows of a that one task keeps in the second-level cache: 96 KiB, whole tiles of 6, 8 or 12. */
  private static final int TASK_ROWS = 24576 / DEPTH;

  private static final int TASK_COLUMNS = 512;
  private static final int BLOCK_ROWS = 1536;
  private static final int BLOCK_COLUMNS = 4 * TASK_COLUMNS;

  /** Multiply-adds below which waking other threads costs more than it brings. */
  private static final long WORTH_SHARING = 1 << 18;

  private final Threads threads;

  // Reused, because new ones are never in the cache.
  private final ThreadLocal<float[]> strips =
      ThreadLocal.withInitial(
          () -> new float[Math.max(TASK_ROWS * A_STRIDE, Packing.STRIP * DEPTH)]);

  private final ConcurrentLinkedDeque<Panels> idle = new ConcurrentLinkedDeque<>();

  private final Supplier<Panels> panels;

  /**
   * Products on the threads of a pool.
   *
   * @param panels makes the packed blocks of one product, and so chooses the kernel
   */
  Gemm(Threads threads, Supplier<Panels> panels) {
    this.threads = threads;
    this.panels = panels;
  }

  /** One pass: {@code rows x columns} of the result, {@code depth} terms of the sums. */
  record Pass(long row, int rows, long column, int columns, long term, int depth) {
    /** Whether it is the first that adds to its part of the result. */
    boolean first() {
      return term == 0;
    }
  }

  /** Computes {@code out = alpha * a b + beta * out + bias}. */
  void multiply(Operand a, Operand b, Result out) {
    if (a.outer() == 0 || b.outer() == 0) {
      return;
    }
    Panels packed = idle.pollFirst();
    if (packed == null) {
      packed = panels.get();
    }
    int rowsAtOnce = roundUp((int) Math.min(a.outer(), BLOCK_ROWS), packed.tileRows());
    int columnsAtOnce = roundUp((int) Math.min(b.outer(), BLOCK_COLUMNS), GemmKernel.COLUMNS);
    packed.reserve(rowsAtOnce * A_STRIDE, columnsAtOnce * (int) Math.min(a.inner(), DEPTH));
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

  private void pass(Operand a, Operand b, Result out, Panels packed, Pass pass) {
    long work = (long) pass.rows * pass.columns * pass.depth;
    boolean shared = work >= WORTH_SHARING;
    long aStrips = Math.ceilDiv(pass.rows, TASK_ROWS);
    long strips = aStrips + Math.ceilDiv(pass.columns, Packing.STRIP);
    threads.forEach(
        strips,
        shared ? 1 : strips,
        (from, to) -> {
          for (long strip = from; strip < to; strip++) {
            if (strip < aStrips) {
              packLeft(a, packed, pass, (int) strip * TASK_ROWS);
            } else {
              packRight(b, packed, pass, (int) (strip - aStrips) * Packing.STRIP);
            }
          }
        });
    long across = Math.ceilDiv(pass.columns, TASK_COLUMNS);
    long tasks = aStrips * across;
    threads.forEach(
        tasks,
        shared ? 1 : tasks,
        (from, to) -> {
          for (long task = from; task < to; task++) {
            int row = (int) (task / across) * TASK_ROWS;
            int column = (int) (task % across) * TASK_COLUMNS;
            int endRow = Math.min(row + TASK_ROWS, pass.rows);
            int endColumn = Math.min(column + TASK_COLUMNS, pass.columns);
            packed.multiply(out, pass, row, endRow, column, endColumn);
          }
        });
  }

  private void packLeft(Operand a, Panels packed, Pass pass, int row) {
    int rows = Math.min(TASK_ROWS, pass.rows - row);
    if (packed.copyLeft(a, pass, row, rows)) {
      return;
    }
    int count = roundUp(rows, packed.tileRows()) * A_STRIDE;
    float[] strip = strips.get();
    Arrays.fill(strip, rows * A_STRIDE, count, 0);
    Packing.left(a, pass.row + row, rows, pass.term, pass.depth, strip);
    packed.left(strip, count, row * A_STRIDE);
  }

  private void packRight(Operand b, Panels packed, Pass pass, int column) {
    int columns = Math.min(Packing.STRIP, pass.columns - column);
    if (packed.copyRight(b, pass, column, columns)) {
      return;
    }
    int count = roundUp(columns, GemmKernel.COLUMNS) * pass.depth;
    float[] strip = strips.get();
    if (columns % GemmKernel.COLUMNS > 0) {
      Arrays.fill(strip, 0, count, 0);
    }
    Packing.right(b, pass.column + column, columns, pass.term, pass.depth, strip);
    packed.right(strip, count, column * pass.depth);
  }

  static int roundUp(int size, int step) {
    return Math.ceilDiv(size, step) * step;
  }
}
