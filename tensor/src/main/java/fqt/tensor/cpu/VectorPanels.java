package fqt.tensor.cpu;

import java.lang.foreign.MemorySegment;

/** Panels on the Java heap for the kernel on the Vector API; it keeps no packed weights. */
final class VectorPanels implements Panels {
  private float[] a = new float[0];
  private float[] b = new float[0];
  private int rows;
  private int terms;

  @Override
  public int tileRows() {
    return GemmKernel.ROWS;
  }

  @Override
  public void begin(Operand left, int rows, int terms, int depth) {
    this.rows = rows;
    this.terms = terms;
    int count = Math.max(1, Math.ceilDiv(terms, depth)) * rows * Gemm.A_STRIDE;
    a = a.length < count ? new float[count] : a;
  }

  @Override
  public void useRight(MemorySegment kept, int columns, Operand right) {
    int count = columns * terms;
    b = b.length < count ? new float[count] : b;
  }

  @Override
  public void left(float[] from, int count, int pass, int row) {
    System.arraycopy(from, 0, a, rowAt(pass, row), count);
  }

  @Override
  public void right(float[] from, int at, Gemm.Block block, int column, int pass) {
    int count = block.depth(pass) * GemmKernel.COLUMNS;
    System.arraycopy(from, at, b, stripAt(block, column, pass), count);
  }

  private int rowAt(int pass, int row) {
    return (pass * rows + row) * Gemm.A_STRIDE;
  }

  private int stripAt(Gemm.Block block, int column, int pass) {
    return column * terms + pass * block.depth() * GemmKernel.COLUMNS;
  }

  @Override
  public void multiply(
      Result out, Gemm.Block block, int firstRow, int endRow, int firstColumn, int endColumn) {
    float[] tile = new float[GemmKernel.ROWS * GemmKernel.COLUMNS];
    for (int column = firstColumn; column < endColumn; column += GemmKernel.COLUMNS) {
      int columns = Math.min(GemmKernel.COLUMNS, endColumn - column);
      for (int pass = 0; pass < block.passes(); pass++) {
        boolean first = block.first() && pass == 0;
        for (int row = firstRow; row < endRow; row += GemmKernel.ROWS) {
          int height = Math.min(GemmKernel.ROWS, endRow - row);
          if (out.wants(block.row() + row, height, block.column() + column)) {
            int bAt = stripAt(block, column, pass);
            GemmKernel.multiply(
                block.depth(pass), a, rowAt(pass, row), Gemm.A_STRIDE, b, bAt, tile);
            out.add(tile, block.row() + row, height, block.column() + column, columns, first);
          }
        }
      }
    }
  }
}
