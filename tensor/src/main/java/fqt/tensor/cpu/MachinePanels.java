package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.TurnKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Panels off the heap for the assembled kernel. */
final class MachinePanels implements Panels {
  private static final long ALIGNMENT = 64;

  private final TileKernel kernel;
  private final TurnKernel turn;
  private final ThreadLocal<MemorySegment> edge;
  private MemorySegment a = MemorySegment.NULL;
  private MemorySegment b = MemorySegment.NULL;

  MachinePanels(TileKernel kernel, TurnKernel turn) {
    this.kernel = kernel;
    this.turn = turn;
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
  public boolean copyLeft(Operand a, Gemm.Pass pass, int row, int rows) {
    Operand.Raw raw = a.raw();
    if (raw == null || pass.row() + row + rows > raw.rows()) {
      return false;
    }
    int whole = Math.clamp(raw.terms() - pass.term(), 0, pass.depth());
    float[] rest = new float[pass.depth() - whole];
    long stride = (long) Gemm.A_STRIDE * Float.BYTES;
    for (int r = row; r < row + rows; r++) {
      long from = raw.at(pass.row() + r, pass.term());
      MemorySegment.copy(raw.bytes(), from, this.a, r * stride, (long) whole * Float.BYTES);
      if (rest.length > 0) {
        a.readInner(pass.row() + r, pass.term() + whole, rest.length, rest, 0);
        FloatRuns.write(rest, 0, rest.length, this.a, (long) r * Gemm.A_STRIDE + whole);
      }
    }
    long missing = Gemm.roundUp(rows, kernel.rows()) - (long) rows;
    this.a.asSlice(((long) row + rows) * stride, missing * stride).fill((byte) 0);
    return true;
  }

  @Override
  public boolean copyRight(Operand b, Gemm.Pass pass, int column, int columns) {
    Operand.Raw raw = b.raw();
    int width = kernel.columns();
    if (raw == null || columns % width > 0 || pass.column() + column + columns > raw.rows()) {
      return false;
    }
    int whole = Math.clamp(raw.terms() - pass.term(), 0, pass.depth());
    int blocks = whole / TurnKernel.SIDE;
    int done = blocks * TurnKernel.SIDE;
    float[] rest = new float[pass.depth() - done];
    for (int c = column; c < column + columns; c += TurnKernel.SIDE) {
      long strip = (long) (c - c % width) * pass.depth() + c % width;
      if (blocks > 0) {
        MemorySegment from = raw.bytes().asSlice(raw.at(pass.column() + c, pass.term()));
        turn.turn(blocks, from, raw.stride(), this.b.asSlice(strip * Float.BYTES));
      }
      for (int i = 0; rest.length > 0 && i < TurnKernel.SIDE; i++) {
        b.readInner(pass.column() + c + i, pass.term() + done, rest.length, rest, 0);
        for (int k = 0; k < rest.length; k++) {
          Element.f32(this.b, strip + i + (long) (done + k) * width, rest[k]);
        }
      }
    }
    return true;
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
