package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.TurnKernel;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Products of some rows with an F32 weight that is not kept packed. Its strips are packed for one
 * use, into the first-level cache, so that the weight comes from memory once and nothing of it goes
 * back:
 *
 * <pre>
 *   for each task of some strips of columns     shared out among threads
 *     for each pass over some terms             all rows of x in the second-level cache
 *       for each strip
 *         turn its columns                      32 KiB in the first level
 *         for each tile of rows                 meanwhile the next strip is asked for
 * </pre>
 *
 * <p>Passes and kernel are those of {@link Gemm}, so the sums are the same bits: those of a row of
 * x do not depend on the other rows.
 */
final class FewRows {
  /** Rows of x up to which this is faster than packing all of the weight. */
  private static final int MOST_ROWS = Gemm.TASK_ROWS;

  /** Tasks of a product, if their columns are that few, and most columns of one. */
  private static final int TASKS = 32;

  private static final int MOST_COLUMNS = 128;

  /** Tiles up to which there is little time to ask for the next strip. */
  private static final int FEW_TILES = 4;

  /** Rows of x that are packed together. */
  private static final int GRAIN = 8;

  private static final long A_STRIDE = (long) Gemm.A_STRIDE * Float.BYTES;

  private final Threads threads;
  private final TileKernel ahead;
  private final TileKernel wellAhead;
  private final TurnKernel turn;
  private final int leastRows;
  private final int width;
  private final long termBytes;
  private final Scratch scratch = new Scratch();
  private final ThreadLocal<MemorySegment> strips;

  FewRows(Threads threads, MachineKernels kernels) {
    this.threads = threads;
    this.ahead = kernels.ahead();
    this.wellAhead = kernels.wellAhead();
    this.turn = kernels.turn();
    this.leastRows = leastRows(kernels.dots().bits());
    this.width = ahead.columns();
    this.termBytes = (long) width * Float.BYTES;
    long strip = Gemm.A_STRIDE * termBytes;
    this.strips = ThreadLocal.withInitial(() -> Scratch.allocate(strip + MOST_ROWS * termBytes));
  }

  /**
   * Rows from which on {@link Streaming}, which then reads the weight more than once, is slower.
   * With vectors of 512 bits four rows are one pass of it, while turning takes as long as ever.
   */
  private static int leastRows(int bits) {
    return 1 + (bits == 256 ? DotKernel.mostRows(bits) : Streaming.MOST_ROWS);
  }

  /** Whether {@link #multiply} is the way to multiply these, or packing if that was done before. */
  boolean serves(Operand x, Operand w, Result out) {
    return x.outer() >= leastRows
        && x.outer() <= MOST_ROWS
        && w instanceof Operand.Strided dense
        && dense.isDenseF32()
        && w.inner() >= TurnKernel.SIDE
        && !out.lowerOnly();
  }

  /** {@code out = alpha * x wᵀ + beta * out + bias}; w dense along its inner dimension. */
  void multiply(Operand x, Operand w, Result out) {
    Product product = new Product(x, w, out);
    boolean isShared = Gemm.isShared(x.outer(), w.outer(), w.inner());
    threads.forEach(product.rows, isShared ? GRAIN : product.rows, product::packLeft);
    int wanted = (int) Math.min(MOST_COLUMNS, w.outer() / TASKS);
    int step = Math.max(width, Gemm.roundUp(wanted, width));
    try {
      threads.forEach(w.outer(), isShared ? step : w.outer(), product::multiply);
    } finally {
      // The kernels know addresses only.
      Reference.reachabilityFence(product);
    }
    scratch.give(product.left);
  }

  /** One product in flight. */
  private final class Product {
    private final Operand x;
    private final Operand w;
    private final Operand.Raw raw;
    private final Result out;
    private final int rows;
    private final TileKernel kernel;
    private final int depth;
    private final int passes;
    private final MemorySegment left;

    Product(Operand x, Operand w, Result out) {
      this.x = x;
      this.w = w;
      this.raw = w.raw();
      this.out = out;
      this.rows = (int) x.outer();
      this.kernel = rows <= FEW_TILES * ahead.rows() ? wellAhead : ahead;
      this.depth = Gemm.depth(x.inner());
      this.passes = Math.toIntExact(Math.ceilDiv(x.inner(), depth));
      this.left = scratch.take((long) passes * rows * A_STRIDE);
    }

    private long leftAt(int pass, long row) {
      return ((long) pass * rows + row) * A_STRIDE;
    }

    private long term(int pass) {
      return (long) pass * depth;
    }

    private int terms(int pass) {
      return (int) Math.min(depth, w.inner() - term(pass));
    }

    /** Copies rows of x to where the kernel wants them. */
    void packLeft(long from, long to) {
      float[] line = new float[depth];
      for (long row = from; row < to; row++) {
        for (int pass = 0; pass < passes; pass++) {
          x.readInner(row, term(pass), terms(pass), line, 0);
          FloatRuns.write(line, 0, terms(pass), left, leftAt(pass, row) / Float.BYTES);
        }
      }
    }

    /** Computes some columns of the result. */
    void multiply(long from, long to) {
      MemorySegment strip = strips.get();
      for (int pass = 0; pass < passes; pass++) {
        for (long column = from; column < to; column += width) {
          int columns = (int) Math.min(width, to - column);
          if (columns == width && terms(pass) >= TurnKernel.SIDE) {
            turn(column, pass, strip.address());
          } else {
            pack(column, columns, pass, strip);
          }
          multiply(column, columns, pass, strip, next(from, to, column, pass));
        }
      }
    }

    /** The address of the columns that come after a strip: in the next pass, or the next task. */
    private long next(long from, long to, long column, int pass) {
      boolean isLast = column + width >= to;
      boolean again = isLast && pass + 1 < passes;
      int nextPass = again ? pass + 1 : isLast ? 0 : pass;
      return raw.bytes().address() + raw.at(again ? from : column + width, term(nextPass));
    }

    private void turn(long column, int pass, long strip) {
      int terms = terms(pass);
      int blocks = terms / TurnKernel.SIDE;
      int rest = terms % TurnKernel.SIDE;
      for (int c = 0; c < width; c += TurnKernel.SIDE) {
        long from = raw.bytes().address() + raw.at(column + c, term(pass));
        long to = strip + (long) c * Float.BYTES;
        turn.turn(blocks, from, raw.stride(), to);
        if (rest > 0) {
          // The last terms together with those before them, which go to the same place again.
          int at = terms - TurnKernel.SIDE;
          turn.turn(1, from + (long) at * Float.BYTES, raw.stride(), to + at * termBytes);
        }
      }
    }

    /** Columns without neighbours, with zeros beside them, or a few terms. */
    private void pack(long column, int columns, int pass, MemorySegment strip) {
      int terms = terms(pass);
      float[] line = new float[terms];
      strip.asSlice(0, terms * termBytes).fill((byte) 0);
      for (int c = 0; c < columns; c++) {
        w.readInner(column + c, term(pass), terms, line, 0);
        for (int k = 0; k < terms; k++) {
          Element.f32(strip, c + (long) k * width, line[k]);
        }
      }
    }

    private void multiply(long column, int columns, int pass, MemorySegment strip, long next) {
      boolean first = pass == 0;
      boolean isReady = columns == width && out.readyForTiles(first, 0, rows, column, columns);
      MemorySegment sums = strip.asSlice(Gemm.A_STRIDE * termBytes);
      kernel.multiply(
          terms(pass),
          rows,
          left.address() + leftAt(pass, 0),
          strip.address(),
          isReady ? out.at(0, column) : sums.address(),
          isReady ? out.stride() * Float.BYTES : termBytes,
          isReady ? out.alpha() : 1,
          isReady && out.keeps(first),
          next,
          raw.stride());
      if (!isReady) {
        float[] values = new float[rows * width];
        MemorySegment.copy(sums, Element.FLOAT, 0, values, 0, values.length);
        out.add(values, 0, rows, column, columns, first);
      }
    }
  }
}
