package fqt.tensor.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.function.Supplier;

/**
 * Matrix products of any size: operands are copied block by block into packed arrays, tiles of the
 * result are computed by the kernel of {@link Panels}. The loops are those of Goto and van de
 * Geijn, "Anatomy of high-performance matrix multiplication" (2008), but for the passes over the
 * terms, which run inside a task, so that its part of the result stays in the cache meanwhile:
 *
 * <pre>
 *   for each block of rows, of terms, of columns    packed operands in the last-level cache
 *     pack a and b                                  strips shared out among threads
 *     for each task of rows x columns               shared out; its rows of a in the second level
 *       for each pass of at most A_STRIDE terms
 *         for each strip of b                       its part in the first level
 *           for each strip of a                     one tile in registers
 * </pre>
 *
 * What is packed already is not packed again: a block of a serves all blocks of columns, one of b
 * all blocks of rows, and a weight that is kept packed ({@link KeptForms}) all products.
 *
 * <p>Every sum runs over its terms in the same order whoever computes it, so results do not depend
 * on the number of threads.
 */
final class Gemm {
  /** Terms of the sums that one pass adds up: a strip of b takes 32 KiB. */
  static final int DEPTH = 8192 / GemmKernel.COLUMNS;

  /**
   * Distance of two packed rows of a: a little over DEPTH, so that they do not share cache sets.
   */
  static final int A_STRIDE = DEPTH + 16;

  /** Most rows of a task, which keeps them in the second-level cache: tiles of 6, 8, 12 or 32. */
  static final int TASK_ROWS = 96;

  /** Rows that are packed together, if tiles are not higher and if rows are dense in memory. */
  private static final int PACKED_ROWS = 24;

  /** Most columns of a task of vector kernels. */
  static final int TASK_COLUMNS = 256;

  /** Tasks of a block, if they can be that small: how evenly threads share the work. */
  static final int TASKS = 64;

  private static final int BLOCK_ROWS = 4096;
  private static final int BLOCK_COLUMNS = 2048;

  /** Passes of a block whose result can be added to: 400 KiB of a for a task. */
  private static final int BLOCK_PASSES = 1024 / DEPTH;

  /** Terms of a block of either operand where sums must not be interrupted: 16 MiB. */
  private static final int BLOCK_SIZE = 1 << 22;

  /** Terms of an a that is packed whole, so that threads need not wait for each other's blocks. */
  private static final int WHOLE_SIZE = 1 << 20;

  /** Multiply-adds below which waking other threads costs more than it brings. */
  private static final long WORTH_SHARING = 1 << 18;

  private final Threads threads;

  // Reused, because new ones are never in the cache.
  private final ThreadLocal<float[]> strips =
      ThreadLocal.withInitial(() -> new float[Math.max(TASK_ROWS, Packing.STRIP) * A_STRIDE]);

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

  /** Where a left-hand side may have numbers other than 0. */
  enum Shape {
    /** Everywhere. */
    FULL,
    /** On the diagonal and below it. */
    LOWER,
    /** On the diagonal and above it. */
    UPPER
  }

  /**
   * A part of a product whose operands are packed together.
   *
   * @param depth terms of a pass; the last may have fewer
   * @param shape of the whole left-hand side
   */
  record Block(
      long row, int rows, long column, int columns, long term, int terms, int depth, Shape shape) {
    /** The first term of a pass that some rows from one on need, a multiple of 16. */
    int firstTerm(int pass, int row) {
      long zeros = this.row + row - term - (long) pass * depth;
      return shape == Shape.UPPER ? Math.clamp(zeros, 0, depth(pass)) / 16 * 16 : 0;
    }

    /** The end of the terms of a pass that the rows before one need. */
    int endTerm(int pass, int endRow) {
      long needed = row + endRow - term - (long) pass * depth;
      return shape == Shape.LOWER ? Math.clamp(needed, 0, depth(pass)) : depth(pass);
    }

    /** Whether it is the first that adds to its part of the result. */
    boolean first() {
      return term == 0;
    }

    /** How often the kernel runs over each tile. */
    int passes() {
      return Math.max(1, Math.ceilDiv(terms, depth));
    }

    /** Terms of one pass. */
    int depth(int pass) {
      return Math.min(depth, terms - pass * depth);
    }
  }

  /** Computes {@code out = alpha * a b + beta * out + bias}. */
  void multiply(Operand a, Operand b, Result out) {
    multiply(a, b, null, out);
  }

  /**
   * The same with a right-hand side that may be packed already.
   *
   * @param kept what {@link #pack} made of b, or null
   */
  void multiply(Operand a, Operand b, MemorySegment kept, Result out) {
    multiply(a, Shape.FULL, b, kept, out);
  }

  /** The same with a left-hand side that may be a triangle, whose zeros need not be multiplied. */
  void multiply(Operand a, Shape shape, Operand b, MemorySegment kept, Result out) {
    if (a.outer() == 0 || b.outer() == 0) {
      return;
    }
    Panels packed = idle.pollFirst();
    if (packed == null) {
      packed = panels.get();
    }
    try {
      multiply(a, shape, b, kept, out, packed);
    } finally {
      // The kernels know addresses only.
      Reference.reachabilityFence(out);
    }
    idle.addFirst(packed);
  }

  private void multiply(
      Operand a, Shape shape, Operand b, MemorySegment kept, Result out, Panels packed) {
    int depth = depth(a.inner());
    boolean small = a.inner() <= (long) BLOCK_PASSES * depth || a.outer() * a.inner() <= WHOLE_SIZE;
    boolean whole = small || out.scaling() != null;
    int terms = whole ? Math.toIntExact(a.inner()) : BLOCK_PASSES * depth;
    int rows = atOnce(a.outer(), BLOCK_ROWS, terms, TASK_ROWS);
    int columns = atOnce(b.outer(), BLOCK_COLUMNS, kept == null ? terms : 1, TASK_COLUMNS);
    packed.begin(a, roundUp(rows, packed.tileRows()), terms, depth);
    packed.useRight(kept, roundUp(columns, GemmKernel.COLUMNS), b);
    // Where a sum needs several blocks, its part of the result should still be near for the next.
    long outerEnd = whole ? a.outer() : b.outer();
    long innerEnd = whole ? b.outer() : a.outer();
    Block last = null;
    for (long outer = 0; outer < outerEnd; outer += whole ? rows : columns) {
      long term = 0;
      do {
        int length = (int) Math.min(terms, a.inner() - term);
        for (long inner = 0; inner < innerEnd; inner += whole ? columns : rows) {
          long row = whole ? outer : inner;
          long column = whole ? inner : outer;
          int height = (int) Math.min(rows, a.outer() - row);
          int width = (int) Math.min(columns, b.outer() - column);
          if (out.wants(row, height, column)) {
            Block block = new Block(row, height, column, width, term, length, depth, shape);
            boolean newLeft = last == null || last.row != row || last.term != term;
            boolean newRight = last == null || last.column != column || last.term != term;
            pack(newLeft ? a : null, newRight && kept == null ? b : null, packed, block);
            multiply(out, packed, block);
            last = block;
          }
        }
        term += length;
      } while (term < a.inner());
    }
  }

  /** How many rows or columns are packed at once. */
  private static int atOnce(long size, int most, int terms, int step) {
    int fitting = Math.max(1, BLOCK_SIZE / Math.max(1, terms) / step) * step;
    return (int) Math.min(size, Math.min(most, fitting));
  }

  /** Terms of a pass: as even as can be, in multiples of 16, which tiles want. */
  static int depth(long terms) {
    long passes = Math.max(1, Math.ceilDiv(terms, A_STRIDE));
    return Math.max(16, roundUp(Math.toIntExact(Math.ceilDiv(terms, passes)), 16));
  }

  /** Bytes that {@link #pack} fills. */
  static long packedBytes(Operand b) {
    long columns = Math.ceilDiv(b.outer(), GemmKernel.COLUMNS) * GemmKernel.COLUMNS;
    return columns * (b.inner() + 1) * Float.BYTES;
  }

  /**
   * Packs a whole right-hand side.
   *
   * @param to {@link #packedBytes} bytes at a multiple of 64
   */
  void pack(Operand b, MemorySegment to) {
    Panels packed = panels.get();
    packed.useRight(to, 0, b);
    int terms = Math.toIntExact(b.inner());
    for (long column = 0; column < b.outer(); column += BLOCK_COLUMNS) {
      int columns = (int) Math.min(BLOCK_COLUMNS, b.outer() - column);
      pack(null, b, packed, new Block(0, 0, column, columns, 0, terms, depth(terms), Shape.FULL));
    }
  }

  /** Packs what is not null. */
  private void pack(Operand a, Operand b, Panels packed, Block block) {
    boolean dense = a != null && a.outerIsDense();
    int rows = dense ? TASK_ROWS : roundUp(PACKED_ROWS, packed.tileRows());
    long aStrips = a == null ? 0 : Math.ceilDiv(block.rows, rows);
    long bStrips = b == null ? 0 : Math.ceilDiv(block.columns, Packing.STRIP);
    long strips = aStrips + bStrips;
    threads.forEach(
        strips,
        isShared(block) ? 1 : Math.max(1, strips),
        (from, to) -> {
          for (long strip = from; strip < to; strip++) {
            if (strip < aStrips) {
              int row = (int) strip * rows;
              packLeft(a, packed, block, row, Math.min(rows, block.rows - row));
            } else {
              packRight(b, packed, block, (int) (strip - aStrips) * Packing.STRIP);
            }
          }
        });
  }

  private static boolean isShared(Block block) {
    return isShared(block.rows, block.columns, block.terms);
  }

  /** Whether a product is worth waking other threads. */
  static boolean isShared(long rows, long columns, long terms) {
    return Math.max(64, rows) * columns * terms >= WORTH_SHARING;
  }

  private void multiply(Result out, Panels packed, Block block) {
    long down = Math.ceilDiv(block.rows, TASK_ROWS);
    int height = roundUp((int) Math.ceilDiv(block.rows, down), packed.tileRows());
    int wanted = (int) (block.columns * down / packed.tasks());
    int most = packed.taskColumns(block.terms);
    int step = packed.columnStep();
    int width = Math.clamp(roundUp(wanted, step), step, most);
    long across = Math.ceilDiv(block.columns, width);
    threads.forEach(
        down * across,
        isShared(block) ? 1 : down * across,
        (from, to) -> {
          for (long task = from; task < to; task++) {
            // All rows with some columns, then with the next: b is much larger than a, mostly.
            int row = (int) (task % down) * height;
            int column = (int) (task / down) * width;
            int endRow = Math.min(row + height, block.rows);
            int endColumn = Math.min(column + width, block.columns);
            if (row < endRow) {
              packed.multiply(out, block, row, endRow, column, endColumn);
            }
          }
        });
  }

  private void packLeft(Operand a, Panels packed, Block block, int row, int rows) {
    if (packed.copyLeft(a, block, row, rows)) {
      return;
    }
    int count = roundUp(rows, packed.tileRows()) * A_STRIDE;
    float[] strip = strips.get();
    for (int pass = 0; pass < block.passes(); pass++) {
      Arrays.fill(strip, rows * A_STRIDE, count, 0);
      long term = block.term + (long) pass * block.depth;
      Packing.left(a, block.row + row, rows, term, block.depth(pass), strip);
      packed.left(strip, count, pass, row);
    }
  }

  private void packRight(Operand b, Panels packed, Block block, int column) {
    int columns = Math.min(Packing.STRIP, block.columns - column);
    if (!packed.copyRight(b, block, column, columns)) {
      float[] strip = strips.get();
      for (int pass = 0; pass < block.passes(); pass++) {
        int depth = block.depth(pass);
        if (columns % GemmKernel.COLUMNS > 0) {
          Arrays.fill(strip, 0, roundUp(columns, GemmKernel.COLUMNS) * depth, 0);
        }
        long term = block.term + (long) pass * block.depth;
        Packing.right(b, block.column + column, columns, term, depth, strip);
        for (int at = 0; at < columns; at += GemmKernel.COLUMNS) {
          packed.right(strip, at * depth, block, column + at, pass);
        }
      }
    }
    packed.finishRight(block, column, columns);
  }

  static int roundUp(int size, int step) {
    return Math.ceilDiv(size, step) * step;
  }
}
