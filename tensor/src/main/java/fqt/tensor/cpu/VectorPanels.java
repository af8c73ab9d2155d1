package fqt.tensor.cpu;

/** Panels on the Java heap for the kernel on the Vector API. */
final class VectorPanels implements Panels {
  private float[] a = new float[0];
  private float[] b = new float[0];

  @Override
  public int tileRows() {
    return GemmKernel.ROWS;
  }

  @Override
  public void reserve(int forA, int forB) {
    a = a.length < forA ? new float[forA] : a;
    b = b.length < forB ? new float[forB] : b;
  }

  @Override
  public void left(float[] strip, int count, int at) {
    System.arraycopy(strip, 0, a, at, count);
  }

  @Override
  public void right(float[] strip, int count, int at) {
    System.arraycopy(strip, 0, b, at, count);
  }

  @Override
  public void multiply(
      Result out, Gemm.Pass pass, int firstRow, int endRow, int firstColumn, int endColumn) {
    float[] tile = new float[GemmKernel.ROWS * GemmKernel.COLUMNS];
    for (int column = firstColumn; column < endColumn; column += GemmKernel.COLUMNS) {
      int columns = Math.min(GemmKernel.COLUMNS, endColumn - column);
      for (int row = firstRow; row < endRow; row += GemmKernel.ROWS) {
        int rows = Math.min(GemmKernel.ROWS, endRow - row);
        if (out.wants(pass.row() + row, rows, pass.column() + column)) {
          int aAt = row * Gemm.A_STRIDE;
          int bAt = column * pass.depth();
          GemmKernel.multiply(pass.depth(), a, aAt, Gemm.A_STRIDE, b, bAt, tile);
          out.add(tile, pass.row() + row, rows, pass.column() + column, columns, pass.first());
        }
      }
    }
  }
}
