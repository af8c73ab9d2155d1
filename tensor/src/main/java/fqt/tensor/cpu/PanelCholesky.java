package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.TurnKernel;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Cholesky factor by machine code. A panel of columns is copied, once, to where the kernel of
 * products reads its left-hand sides, and finished there, block of columns by block of columns;
 * then it is taken out of the rest of the matrix:
 *
 * <pre>
 *   for each panel of {@link Gemm#DEPTH} columns
 *     for each block of {@link Triangular#BLOCK} columns
 *       take out what the columns before it contribute      product, terms as they lie
 *       factor the block on the diagonal, invert the factor  in F64
 *       multiply the rows below by the inverse               product in place
 *     rest −= panel panelᵀ                                   product, half turned on its side
 * </pre>
 */
final class PanelCholesky {
  private static final int BLOCK = Triangular.BLOCK;
  private static final int PANEL = Gemm.DEPTH;
  private static final int WIDTH = GemmKernel.COLUMNS;
  private static final int ROWS = Gemm.TASK_ROWS;

  /** Columns of the rest that one task computes. */
  private static final int COLUMNS = 16 * WIDTH;

  private static final long STRIDE = (long) Gemm.A_STRIDE * Float.BYTES;
  private static final long TERM = (long) WIDTH * Float.BYTES;

  private final Threads threads;
  private final TileKernel kernel;
  private final TurnKernel turn;
  private final Tensor a;
  private final MemorySegment bytes;
  private final long size;
  private final HostMemory.Block taken;
  private final MemorySegment panel;
  private final Tensor panelRows;
  private final MemorySegment strips;
  private final double[] block = new double[BLOCK * BLOCK];
  private final double[] inverse = new double[BLOCK * BLOCK];

  private PanelCholesky(Threads threads, MachineKernels kernels, HostMemory memory, Tensor a) {
    this.threads = threads;
    this.kernel = kernels.floats();
    this.turn = kernels.turn();
    this.a = a;
    this.bytes = a.storage().segment();
    this.size = a.dim(0);
    // Whole strips of rows are turned, also where the matrix ends.
    long rows = size + WIDTH;
    long stripBytes = Math.max(rows, BLOCK + WIDTH) * PANEL * Float.BYTES;
    this.taken = memory.take(rows * STRIDE + stripBytes);
    this.panel = taken.memory().asSlice(0, rows * STRIDE);
    this.panelRows = Tensor.of(panel, DType.F32, Shape.of(rows, Gemm.A_STRIDE));
    this.strips = taken.memory().asSlice(rows * STRIDE, stripBytes);
  }

  /** Overwrites a with its lower factor; returns −1 or the first pivot that is not positive. */
  static long factor(Threads threads, MachineKernels kernels, HostMemory memory, Tensor a) {
    PanelCholesky run = new PanelCholesky(threads, kernels, memory, a);
    try {
      return run.factor();
    } finally {
      memory.give(run.taken);
      // The kernels know addresses only.
      Reference.reachabilityFence(run);
    }
  }

  private long factor() {
    for (long first = 0; first < size; first += PANEL) {
      int columns = (int) Math.min(PANEL, size - first);
      long rows = size - first;
      copy(first, rows, columns, true);
      for (int from = 0; from < columns; from += BLOCK) {
        int width = Math.min(BLOCK, columns - from);
        if (from > 0) {
          takeOut(from, width, rows);
        }
        int failed = diagonal(from, width);
        if (failed >= 0) {
          return first + from + failed;
        }
        below(from, width, rows);
      }
      copy(first, rows, columns, false);
      if (first + columns < size) {
        rest(first + columns, rows - columns);
      }
    }
    return -1;
  }

  /** Copies the panel, from the diagonal down, out of the matrix or back into it. */
  private void copy(long first, long rows, int columns, boolean out) {
    threads.forEach(
        rows,
        ROWS,
        (begin, end) -> {
          for (long row = begin; row < end; row++) {
            long place = at(first + row, first) - bytes.address();
            long count = Math.min(columns, row + 1) * Float.BYTES;
            if (out) {
              MemorySegment.copy(bytes, place, panel, row * STRIDE, count);
            } else {
              MemorySegment.copy(panel, row * STRIDE, bytes, place, count);
            }
          }
        });
  }

  /** {@code columns −= before beforeᵀ} for the columns of a block and those before them. */
  private void takeOut(int from, int width, long rows) {
    for (int strip = 0; strip < width; strip += WIDTH) {
      turn(from + strip, from, strip(strip, from));
    }
    long here = panel.address() + from * (long) Float.BYTES;
    byRows(
        from,
        rows,
        (row, height) -> {
          for (int strip = 0; strip < width; strip += WIDTH) {
            kernel.multiply(
                from,
                height,
                panel.address() + row * STRIDE,
                strip(strip, from),
                here + row * STRIDE + strip * (long) Float.BYTES,
                STRIDE,
                -1,
                true);
          }
        });
  }

  /** Factors the block on the diagonal; returns −1 or the pivot that failed. */
  private int diagonal(int from, int width) {
    Triangular.read(panelRows, from, width, block);
    int failed = Triangular.factor(block, width);
    if (failed < 0) {
      Triangular.writeTurned(block, width, panelRows, from);
      Triangular.invert(block, width, inverse);
    }
    return failed;
  }

  /**
   * Multiplies what is below a block by its transposed inverse, whose strips have ever more terms:
   * the last one first, since it overwrites terms that the others do not need.
   */
  private void below(int from, int width, long rows) {
    for (int column = 0; column < Gemm.roundUp(width, WIDTH); column++) {
      int strip = column / WIDTH * WIDTH;
      long at = (strip(strip, BLOCK) - strips.address()) / Float.BYTES + column - strip;
      for (int term = 0; term < width; term++) {
        boolean isZero = column >= width || term > column;
        float value = isZero ? 0 : (float) inverse[column * BLOCK + term];
        Element.f32(strips, at + (long) term * WIDTH, value);
      }
    }
    long here = panel.address() + from * (long) Float.BYTES;
    byRows(
        from + width,
        rows,
        (row, height) -> {
          for (int strip = (width - 1) / WIDTH * WIDTH; strip >= 0; strip -= WIDTH) {
            kernel.multiply(
                Math.min(strip + WIDTH, width),
                height,
                here + row * STRIDE,
                strip(strip, BLOCK),
                here + row * STRIDE + strip * (long) Float.BYTES,
                STRIDE,
                1,
                false);
          }
        });
  }

  /** Takes the panel out of the lower triangle of what is right of it. */
  private void rest(long first, long rows) {
    threads.forEach(
        Math.ceilDiv(rows, WIDTH),
        ROWS / WIDTH,
        (begin, end) -> {
          for (long strip = begin * WIDTH; strip < end * WIDTH; strip += WIDTH) {
            turn(PANEL + strip, PANEL, strip(strip, PANEL));
          }
        });
    long down = Math.ceilDiv(rows, ROWS);
    long across = Math.ceilDiv(rows, COLUMNS);
    threads.forEach(
        down * across,
        1,
        (begin, end) -> {
          for (long task = begin; task < end; task++) {
            long row = task % down * ROWS;
            long column = task / down * COLUMNS;
            int height = (int) Math.min(ROWS, rows - row);
            long until = Math.min(Math.min(column + COLUMNS, row + height), rows);
            for (long strip = column; strip < until; strip += WIDTH) {
              restStrip(first, row, height, strip, (int) Math.min(WIDTH, rows - strip));
            }
          }
        });
  }

  private void restStrip(long first, long row, int height, long column, int columns) {
    // Tiles above the diagonal are left out.
    int above = (int) Math.max(0, column - row) / kernel.rows() * kernel.rows();
    long top = row + above;
    long from = panel.address() + (PANEL + top) * STRIDE;
    long to = at(first + top, first + column);
    if (columns == WIDTH) {
      long stride = a.stride(0) * Float.BYTES;
      kernel.multiply(PANEL, height - above, from, strip(column, PANEL), to, stride, -1, true);
      return;
    }
    MemorySegment edge = EDGE.get();
    long edgeAt = edge.address();
    kernel.multiply(PANEL, height - above, from, strip(column, PANEL), edgeAt, TERM, -1, false);
    for (int r = 0; r < height - above; r++) {
      long place = (to - bytes.address()) / Float.BYTES + r * a.stride(0);
      for (int c = 0; c < columns; c++) {
        float sum = Element.f32(bytes, place + c) + Element.f32(edge, (long) r * WIDTH + c);
        Element.f32(bytes, place + c, sum);
      }
    }
  }

  /** A column of tiles that reaches over the edge of the matrix. */
  private static final ThreadLocal<MemorySegment> EDGE =
      ThreadLocal.withInitial(() -> Scratch.allocate(ROWS * TERM));

  private interface Part {
    void run(long row, int height);
  }

  private void byRows(long from, long rows, Part part) {
    threads.forEach(rows - from, ROWS, (begin, end) -> part.run(from + begin, (int) (end - begin)));
  }

  /** Turns the first terms of the rows of a strip. */
  private void turn(long row, int terms, long to) {
    for (int i = 0; i < WIDTH; i += TurnKernel.SIDE) {
      long from = panel.address() + (row + i) * STRIDE;
      turn.turn(terms / TurnKernel.SIDE, from, STRIDE, to + i * (long) Float.BYTES);
    }
  }

  /** The address of the strip that begins with a column, given the terms of each. */
  private long strip(long column, int terms) {
    return strips.address() + column * terms * Float.BYTES;
  }

  private long at(long row, long column) {
    return bytes.address() + (a.offset() + row * a.stride(0) + column * a.stride(1)) * Float.BYTES;
  }
}
