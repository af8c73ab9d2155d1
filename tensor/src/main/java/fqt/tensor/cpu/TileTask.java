package fqt.tensor.cpu;

import java.lang.foreign.MemorySegment;

/**
 * A part of a block's result that one thread computes, and what becomes of its sums. Rows and
 * columns are counted from the corner of the block.
 */
record TileTask(
    MachinePanels panels,
    Result out,
    Gemm.Block block,
    int firstRow,
    int endRow,
    int firstColumn,
    int endColumn) {
  int height() {
    return endRow - firstRow;
  }

  /** The address of a place of the block in the result. */
  long to(int row, int column) {
    return out.at(block.row() + row, block.column() + column);
  }

  /** Distance of two rows of the result, in bytes. */
  long stride() {
    return out.stride() * Float.BYTES;
  }

  /** Whether kernels may set or add to the result by themselves; a bias is written first. */
  boolean isReady(int pass, int row, int rows, int column, int columns) {
    return out.readyForTiles(
        block.first() && pass == 0, block.row() + row, rows, block.column() + column, columns);
  }

  /** Whether a pass adds to what is there. */
  boolean adds(int pass) {
    return out.keeps(block.first() && pass == 0);
  }

  /** Adds the sums of a tile, of which not all may be wanted, to the result. */
  void add(MemorySegment tile, int pass, int row, int rows, int column, int columns) {
    float[] values = new float[panels.tileRows() * panels.width()];
    MemorySegment.copy(tile, Element.FLOAT, 0, values, 0, values.length);
    boolean first = block.first() && pass == 0;
    out.add(values, block.row() + row, rows, block.column() + column, columns, first);
  }

  /** Sums of integers become results while they are near: whole strips, or a part of one. */
  void scale(int row, int rows, int column, int columns, long sums, long pitch) {
    Scaling scaling = out.scaling();
    long firstRow = block.row() + row;
    int whole = columns / panels.width();
    if (whole > 0) {
      scaling.apply(
          firstRow,
          rows,
          block.column() + column,
          whole,
          sums,
          pitch,
          panels.excess(block, column),
          to(row, column),
          stride());
    }
    int rest = columns % panels.width();
    if (rest > 0) {
      int last = column + columns - rest;
      long stride = panels.stripStride();
      MemorySegment tile = panels.edge();
      long excess = panels.excess(block, last);
      long from = sums + whole * pitch;
      long to = tile.address();
      scaling.apply(firstRow, rows, block.column() + last, 1, from, pitch, excess, to, stride);
      out.copyRows(tile, stride, firstRow, rows, block.column() + last, rest);
    }
  }
}
