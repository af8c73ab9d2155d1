package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.WidePairsKernel;
import java.lang.foreign.MemorySegment;

/**
 * How vectors compute a task: tiles one under the other, so that a strip of b stays in the
 * first-level cache while the rows of a come from the second, pass by pass.
 */
final class ColumnsOfTiles implements MachinePanels.Way {
  /** Tiles of a triangle that are computed together: half as many rows are zeros on average. */
  private static final int TRIANGLE_TILES = 4;

  private final MachinePanels panels;
  private final TileKernel kernel;
  private final TileKernel steady;
  private final TileKernel ahead;
  private final WidePairsKernel wide;
  private final int step;
  private final int width;
  private final long stripStride;

  /** By a kernel; {@code wide} multiplies two strips at a time where it is not null. */
  ColumnsOfTiles(
      MachinePanels panels,
      TileKernel kernel,
      TileKernel steady,
      TileKernel ahead,
      WidePairsKernel wide) {
    this.panels = panels;
    this.kernel = kernel;
    this.steady = steady;
    this.ahead = ahead;
    this.wide = wide;
    this.step = kernel.rows();
    this.width = kernel.columns();
    this.stripStride = panels.stripStride();
  }

  @Override
  public int tasks() {
    return Gemm.TASKS;
  }

  @Override
  public int taskColumns(int terms) {
    return Gemm.TASK_COLUMNS;
  }

  /** Two strips, where tiles are that wide. */
  @Override
  public int columnStep() {
    return wide == null ? width : WidePairsKernel.STRIPS * width;
  }

  @Override
  public long sumsBytes() {
    return Gemm.TASK_ROWS * stripStride * Gemm.TASK_COLUMNS / width;
  }

  @Override
  public void multiply(TileTask task) {
    for (int pass = 0; pass < task.block().passes(); pass++) {
      int column = task.firstColumn();
      for (; wide != null && column + width < task.endColumn(); column += 2 * width) {
        wideColumn(task, pass, column, Math.min(2 * width, task.endColumn() - column));
      }
      for (; column < task.endColumn(); column += width) {
        columnOfTiles(task, pass, column, Math.min(width, task.endColumn() - column));
      }
    }
  }

  private void columnOfTiles(TileTask task, int pass, int column, int columns) {
    if (task.out().scaling() != null) {
      scaledColumn(task, pass, column, columns);
      return;
    }
    Gemm.Block block = task.block();
    boolean ready = task.isReady(pass, task.firstRow(), task.height(), column, columns);
    int row = task.firstRow();
    while (row < task.endRow()
        && !task.out().wants(block.row() + row, step, block.column() + column)) {
      row += step;
    }
    int height = ready && columns == width ? Math.max(0, task.endRow() - row) : 0;
    if (height > 0 && block.shape() != Gemm.Shape.FULL) {
      for (int r = row; r < task.endRow(); r += TRIANGLE_TILES * step) {
        partOfTriangle(task, pass, column, r, Math.min(r + TRIANGLE_TILES * step, task.endRow()));
      }
    } else if (height > 0) {
      (block.rows() <= Gemm.TASK_ROWS ? ahead : steady)
          .multiply(
              block.depth(pass),
              height,
              panels.row(pass, row),
              panels.strip(block, column, pass),
              task.to(row, column),
              task.stride(),
              task.out().alpha(),
              task.adds(pass),
              next(task, pass, column),
              block.depth(pass) * (long) Float.BYTES);
    }
    for (int r = row + height; r < task.endRow(); r += step) {
      edge(task, pass, r, Math.min(step, task.endRow() - r), column, columns);
    }
  }

  /** The address of the strip that a task goes through next, or of one that the next task may. */
  private long next(TileTask task, int pass, int column) {
    boolean again = column + width >= task.endColumn() && pass + 1 < task.block().passes();
    return again
        ? panels.strip(task.block(), task.firstColumn(), pass + 1)
        : panels.strip(task.block(), column + width, pass);
  }

  /** The terms of some rows of a triangle that are not all zeros. */
  private void partOfTriangle(TileTask task, int pass, int column, int row, int endRow) {
    Gemm.Block block = task.block();
    int first = block.firstTerm(pass, row);
    int count = Math.max(0, block.endTerm(pass, endRow) - first);
    if (count > 0 || !task.adds(pass)) {
      kernel.multiply(
          count,
          endRow - row,
          panels.row(pass, row) + (long) first * Float.BYTES,
          panels.strip(block, column, pass) + first * stripStride,
          task.to(row, column),
          task.stride(),
          task.out().alpha(),
          task.adds(pass));
    }
  }

  private void scaledColumn(TileTask task, int pass, int column, int columns) {
    Gemm.Block block = task.block();
    long sums = sums(task, column);
    kernel.multiply(
        block.depth(pass),
        task.height(),
        panels.row(pass, task.firstRow()),
        panels.strip(block, column, pass),
        sums,
        stripStride,
        1,
        pass > 0);
    if (pass + 1 == block.passes()) {
      task.scale(task.firstRow(), task.height(), column, columns, sums, 0);
    }
  }

  /** The same for two strips side by side. */
  private void wideColumn(TileTask task, int pass, int column, int columns) {
    Gemm.Block block = task.block();
    long sums = sums(task, column);
    wide.multiply(
        block.depth(pass),
        task.height(),
        panels.row(pass, task.firstRow()),
        panels.strip(block, column, pass),
        panels.stripPitch(),
        sums,
        Gemm.TASK_ROWS * stripStride,
        pass > 0,
        next(task, pass, column + width));
    if (pass + 1 == block.passes()) {
      task.scale(
          task.firstRow(), task.height(), column, columns, sums, Gemm.TASK_ROWS * stripStride);
    }
  }

  /** The address of a strip's sums of integers. */
  private long sums(TileTask task, int column) {
    long strip = (long) (column - task.firstColumn()) / width;
    return panels.sums().address() + strip * Gemm.TASK_ROWS * stripStride;
  }

  /** A tile that reaches over the edge of the result, or into a bias. */
  private void edge(TileTask task, int pass, int row, int rows, int column, int columns) {
    Gemm.Block block = task.block();
    MemorySegment tile = panels.edge();
    long from = panels.row(pass, row);
    long strip = panels.strip(block, column, pass);
    kernel.multiply(block.depth(pass), rows, from, strip, tile.address(), stripStride, 1, false);
    task.add(tile, pass, row, rows, column, columns);
  }
}
