package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.TileKernel;
import java.lang.foreign.MemorySegment;

/**
 * How AMX computes a task: tiles side by side, so that rows of a stay in the first-level cache
 * while the strips of b stream past, all passes of a row of tiles before the next.
 */
final class RowsOfTiles implements MachinePanels.Way {
  /** Most columns of a row of tiles, and bytes of b that it may take in the second level. */
  private static final int MOST_COLUMNS = 512;

  private static final int MOST_BYTES = 1 << 20;

  /** Fewer than of vectors: rows want to be long, as those of a come into the first level once. */
  private static final int TASKS = 8;

  private final MachinePanels panels;
  private final TileKernel kernel;
  private final int step;
  private final int width;
  private final long stripStride;

  /** By a kernel of tiles. */
  RowsOfTiles(MachinePanels panels, TileKernel kernel) {
    this.panels = panels;
    this.kernel = kernel;
    this.step = kernel.rows();
    this.width = kernel.columns();
    this.stripStride = panels.stripStride();
  }

  /**
   * Where tiles side by side go.
   *
   * @param stride distance of two rows, in bytes
   * @param step distance of two tiles, in bytes
   */
  private record Place(long start, long stride, long step) {}

  @Override
  public int tasks() {
    return TASKS;
  }

  @Override
  public int taskColumns(int terms) {
    int fitting = MOST_BYTES / Float.BYTES / Math.max(1, terms) / width * width;
    return Math.clamp(fitting, 2 * width, MOST_COLUMNS);
  }

  @Override
  public int columnStep() {
    return width;
  }

  @Override
  public long sumsBytes() {
    return (long) step * MOST_COLUMNS * Float.BYTES;
  }

  @Override
  public void multiply(TileTask task) {
    for (int row = task.firstRow(); row < task.endRow(); row += step) {
      rowOfTiles(task, row, Math.min(step, task.endRow() - row));
    }
  }

  private void rowOfTiles(TileTask task, int row, int rows) {
    Gemm.Block block = task.block();
    int first = task.firstColumn();
    int end = task.endColumn();
    boolean scaled = task.out().scaling() != null;
    boolean whole = rows == step || rows == step / 2;
    boolean fits = whole && (end - first) % width == 0;
    boolean aside = scaled || !fits && block.first() && task.out().isPlain();
    boolean ready = !aside && whole && task.isReady(0, row, rows, first, end - first);
    int tiles = aside ? Math.ceilDiv(end - first, width) : ready ? (end - first) / width : 0;
    Place result = new Place(task.to(row, first), task.stride(), stripStride);
    Place to = aside ? new Place(panels.sums().address(), stripStride, step * stripStride) : result;
    for (int pass = 0; pass < block.passes(); pass++) {
      boolean adding = aside ? pass > 0 : task.adds(pass);
      if (tiles > 0) {
        boolean asks = whole && pass == (aside ? block.passes() - 1 : 0);
        rowOfTiles(block, pass, row, rows, first, tiles, to, adding, asks ? result : null);
      }
      for (int c = first + tiles * width; c < end; c += width) {
        edge(task, pass, row, rows, c, Math.min(width, end - c));
      }
    }
    if (scaled) {
      task.scale(row, rows, first, end - first, to.start, to.step);
    } else if (aside) {
      copy(task, row, rows, to.step);
    }
  }

  /** Sums that were computed aside, because they fill no tile, as they are. */
  private void copy(TileTask task, int row, int rows, long pitch) {
    MemorySegment from = panels.sums();
    for (int c = task.firstColumn(); c < task.endColumn(); c += width) {
      int columns = Math.min(width, task.endColumn() - c);
      MemorySegment strip = from.asSlice((c - task.firstColumn()) / width * pitch);
      Gemm.Block block = task.block();
      task.out().copyRows(strip, stripStride, block.row() + row, rows, block.column() + c, columns);
    }
  }

  /** Tiles side by side; what is asked for meanwhile may be null. */
  private void rowOfTiles(
      Gemm.Block block,
      int pass,
      int row,
      int rows,
      int column,
      int tiles,
      Place to,
      boolean adding,
      Place next) {
    kernel.multiplyRow(
        rows <= step / 2,
        block.depth(pass),
        tiles,
        panels.row(block, pass, row, rows),
        panels.rowStride(rows),
        panels.strip(block, column, pass),
        panels.stripPitch(),
        to.start,
        to.stride,
        to.step,
        adding,
        next == null ? 0 : next.start,
        next == null ? 0 : next.stride);
  }

  /** A tile that reaches over the edge of the result, or into a bias. */
  private void edge(TileTask task, int pass, int row, int rows, int column, int columns) {
    MemorySegment tile = panels.edge();
    Place to = new Place(tile.address(), stripStride, 0);
    rowOfTiles(task.block(), pass, row, rows, column, 1, to, false, null);
    task.add(tile, pass, row, rows, column, columns);
  }
}
