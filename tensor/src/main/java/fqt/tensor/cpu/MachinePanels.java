package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.TileKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Panels off the heap for the assembled kernel. */
final class MachinePanels implements Panels {
  private static final long ALIGNMENT = 64;

  private final TileKernel kernel;
  private final ThreadLocal<MemorySegment> edge;
  private MemorySegment a = MemorySegment.NULL;
  private MemorySegment b = MemorySegment.NULL;

  MachinePanels(TileKernel kernel) {
    this.kernel = kernel;
    int tile = kernel.rows() * kernel.columns();
    this.edge = ThreadLocal.withInitial(() -> allocate(tile));
  }

  /** Freed by the garbage collector, as the panels that hold it are. */
  private static MemorySegment allocate(int count) {
    return Arena.ofAuto().allocate((long) count * Float.BYTES, ALIGNMENT);
  }

  @Override
  public int tileRows() {
    return kernel.rows();
  }

  @Override
  public void reserve(int forA, int forB) {
    a = a.byteSize() < (long) forA * Float.BYTES ? allocate(forA) : a;
    b = b.byteSize() < (long) forB * Float.BYTES ? allocate(forB) : b;
  }

  @Override
  public void left(float[] strip, int count, int at) {
    FloatRuns.write(strip, 0, count, a, at);
  }

  @Override
  public void right(float[] strip, int count, int at) {
    FloatRuns.write(strip, 0, count, b, at);
  }

  @Override
  public void multiply(
      Result out, Gemm.Pass pass, int firstRow, int endRow, int firstColumn, int endColumn) {
    int step = kernel.rows();
    long left = pass.column() + firstColumn;
    boolean ready =
        out.readyForTiles(
            pass.first(), pass.row() + firstRow, endRow - firstRow, left, endColumn - firstColumn);
    for (int column = firstColumn; column < endColumn; column += kernel.columns()) {
      int columns = Math.min(kernel.columns(), endColumn - column);
      int row = firstRow;
      while (row < endRow && !out.wants(pass.row() + row, step, pass.column() + column)) {
        row += step;
      }
      if (ready && columns == kernel.columns()) {
        row += whole(out, pass, row, (endRow - row) / step, column);
      }
      for (; row < endRow; row += step) {
        edge(out, pass, row, Math.min(step, endRow - row), column, columns);
      }
    }
  }

  /** Tiles that the kernel itself adds to the result; returns their rows. */
  private int whole(Result out, Gemm.Pass pass, int row, int tiles, int column) {
    if (tiles > 0) {
      MemorySegment to = out.from(pass.row() + row, pass.column() + column);
      boolean adding = out.keeps(pass.first());
      long stride = out.stride() * Float.BYTES;
      kernel.multiply(
          pass.depth(), tiles, rows(row), strip(pass, column), to, stride, out.alpha(), adding);
    }
    return Math.max(tiles, 0) * kernel.rows();
  }

  /** A tile that reaches over the edge of the result, or into a bias. */
  private void edge(Result out, Gemm.Pass pass, int row, int rows, int column, int columns) {
    MemorySegment tile = edge.get();
    long stride = (long) kernel.columns() * Float.BYTES;
    kernel.multiply(pass.depth(), 1, rows(row), strip(pass, column), tile, stride, 1, false);
    float[] sums = new float[kernel.rows() * kernel.columns()];
    MemorySegment.copy(tile, Element.FLOAT, 0, sums, 0, sums.length);
    out.add(sums, pass.row() + row, rows, pass.column() + column, columns, pass.first());
  }

  private MemorySegment rows(int row) {
    return a.asSlice((long) row * Gemm.A_STRIDE * Float.BYTES);
  }

  private MemorySegment strip(Gemm.Pass pass, int column) {
    return b.asSlice((long) column * pass.depth() * Float.BYTES);
  }
}
