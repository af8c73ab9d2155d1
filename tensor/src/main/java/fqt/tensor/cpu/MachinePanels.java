package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.TileKernel.Kind;
import fqt.tensor.cpu.asm.TurnKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Panels off the heap for the assembled kernels. Behind the strips of b stands what each column's
 * sums have too much, in I32: zero, but where the kernel wants a unsigned and it was raised by 128.
 */
final class MachinePanels implements Panels {
  private static final long ALIGNMENT = 64;
  private static final long A_STRIDE = (long) Gemm.A_STRIDE * Float.BYTES;

  private final TileKernel kernel;
  private final TurnKernel turn;
  private final int step;
  private final int width;
  private final long stripStride;
  private final ThreadLocal<MemorySegment> sums;
  private final ThreadLocal<MemorySegment> edge;
  private MemorySegment a = MemorySegment.NULL;
  private MemorySegment own = MemorySegment.NULL;
  private MemorySegment raised;

  private int rows;
  private int terms;
  private Operand.Raw direct;

  private MemorySegment b;
  private boolean isKept;
  private long stripPitch;
  private long excessAt;

  MachinePanels(TileKernel kernel, TurnKernel turn) {
    this.kernel = kernel;
    this.turn = turn;
    this.step = kernel.rows();
    this.width = kernel.columns();
    this.stripStride = (long) width * Float.BYTES;
    this.sums = ThreadLocal.withInitial(() -> allocate((Gemm.TASK_ROWS + step) * stripStride));
    this.edge = ThreadLocal.withInitial(() -> allocate((Gemm.TASK_ROWS + step) * stripStride));
  }

  /** Freed by the garbage collector, as the panels that hold it are. */
  private static MemorySegment allocate(long bytes) {
    return Arena.ofAuto().allocate(bytes, ALIGNMENT);
  }

  @Override
  public int tileRows() {
    return step;
  }

  @Override
  public void begin(Operand left, int rows, int terms, int depth) {
    this.rows = rows;
    this.terms = terms;
    this.direct = kernel.kind().isTiled() && isDirect(left) ? left.raw() : null;
    long bytes = Math.max(1, Math.ceilDiv(terms, depth)) * rows * A_STRIDE;
    a = a.byteSize() < bytes ? allocate(bytes) : a;
  }

  /** Whether tiles can be loaded from where a is: whole cache lines, and nothing to fill up. */
  private static boolean isDirect(Operand left) {
    Operand.Raw raw = left.raw();
    return raw != null
        && raw.terms() == left.inner()
        && raw.rows() == left.outer()
        && raw.stride() % ALIGNMENT == 0
        && (raw.bytes().address() + raw.start()) % ALIGNMENT == 0;
  }

  private boolean isDirect(int count) {
    return direct != null && count % step == 0;
  }

  @Override
  public void useRight(MemorySegment kept, int columns, Operand right) {
    isKept = kept != null;
    stripPitch = (isKept ? right.inner() : terms) * stripStride;
    long strips = Math.ceilDiv(isKept ? right.outer() : columns, width);
    excessAt = strips * stripPitch;
    long bytes = excessAt + strips * stripStride;
    own = !isKept && own.byteSize() < bytes ? allocate(bytes) : own;
    b = isKept ? kept : own;
  }

  @Override
  public boolean copyLeft(Operand a, Gemm.Block block, int row, int rows) {
    Operand.Raw raw = a.raw();
    if (isDirect(rows)) {
      return true;
    }
    if (raw == null || block.row() + row + rows > raw.rows()) {
      return false;
    }
    float[] rest = new float[block.depth()];
    for (int pass = 0; pass < block.passes(); pass++) {
      long term = block.term() + (long) pass * block.depth();
      int depth = block.depth(pass);
      int whole = Math.clamp(raw.terms() - term, 0, depth);
      for (int r = row; r < row + rows; r++) {
        long from = raw.at(block.row() + r, term);
        long to = rowAt(pass, r);
        MemorySegment.copy(raw.bytes(), from, this.a, to, (long) whole * Float.BYTES);
        if (whole < depth) {
          a.readInner(block.row() + r, term + whole, depth - whole, rest, 0);
          FloatRuns.write(rest, 0, depth - whole, this.a, to / Float.BYTES + whole);
        }
      }
      long missing = Gemm.roundUp(rows, step) - (long) rows;
      this.a.asSlice(rowAt(pass, row + rows), missing * A_STRIDE).fill((byte) 0);
    }
    return true;
  }

  @Override
  public boolean copyRight(Operand b, Gemm.Block block, int column, int columns) {
    Operand.Raw raw = b.raw();
    if (raw == null || columns % width > 0 || block.column() + column + columns > raw.rows()) {
      return false;
    }
    int whole = Math.clamp(raw.terms() - block.term(), 0, block.terms());
    int blocks = whole / TurnKernel.SIDE;
    int done = blocks * TurnKernel.SIDE;
    float[] rest = new float[block.terms() - done];
    for (int c = column; c < column + columns; c += TurnKernel.SIDE) {
      long to = stripAt(block, c) + c % width * (long) Float.BYTES;
      if (blocks > 0) {
        MemorySegment from = raw.bytes().asSlice(raw.at(block.column() + c, block.term()));
        turn.turn(blocks, from, raw.stride(), this.b.asSlice(to));
      }
      for (int i = 0; rest.length > 0 && i < TurnKernel.SIDE; i++) {
        b.readInner(block.column() + c + i, block.term() + done, rest.length, rest, 0);
        for (int k = 0; k < rest.length; k++) {
          Element.f32(this.b, to / Float.BYTES + i + (long) (done + k) * width, rest[k]);
        }
      }
    }
    return true;
  }

  @Override
  public void left(float[] strip, int count, int pass, int row) {
    FloatRuns.write(strip, 0, count, a, rowAt(pass, row) / Float.BYTES);
  }

  @Override
  public void right(float[] strip, int at, Gemm.Block block, int column, int pass) {
    long to = stripAt(block, column) + (long) pass * block.depth() * stripStride;
    FloatRuns.write(strip, at, block.depth(pass) * width, b, to / Float.BYTES);
  }

  @Override
  public void finishRight(Gemm.Block block, int column, int columns) {
    Kind kind = kernel.kind();
    boolean raises = kind == Kind.QUADS || kind == Kind.VEX_QUADS;
    for (int c = column; c < column + columns; c += width) {
      MemorySegment excess = excess(block, c);
      if (!raises) {
        excess.fill((byte) 0);
        continue;
      }
      MemorySegment tile = edge.get();
      for (int pass = 0; pass < block.passes(); pass++) {
        MemorySegment strip = strip(block, c, pass);
        int depth = block.depth(pass);
        kernel.multiply(depth, 1, raised(), strip, tile, stripStride, 1, pass > 0);
      }
      excess.copyFrom(tile.asSlice(0, stripStride));
    }
  }

  /** Rows of 128 in all bytes. */
  private synchronized MemorySegment raised() {
    if (raised == null) {
      raised = allocate(step * A_STRIDE).fill((byte) 128);
    }
    return raised;
  }

  @Override
  public void multiply(
      Result out, Gemm.Block block, int firstRow, int endRow, int firstColumn, int endColumn) {
    if (out.scaling() != null) {
      scaled(out, block, firstRow, endRow, firstColumn, endColumn);
      return;
    }
    long left = block.column() + firstColumn;
    int height = endRow - firstRow;
    boolean ready =
        out.readyForTiles(
            block.first(), block.row() + firstRow, height, left, endColumn - firstColumn);
    for (int column = firstColumn; column < endColumn; column += width) {
      int columns = Math.min(width, endColumn - column);
      int row = firstRow;
      while (row < endRow && !out.wants(block.row() + row, step, block.column() + column)) {
        row += step;
      }
      int tiles = ready && columns == width ? (endRow - row) / step : 0;
      for (int pass = 0; pass < block.passes(); pass++) {
        if (tiles > 0) {
          MemorySegment to = out.from(block.row() + row, block.column() + column);
          boolean adding = out.keeps(block.first() && pass == 0);
          long stride = out.stride() * Float.BYTES;
          MemorySegment strip = strip(block, column, pass);
          Target target = new Target(to, stride, to, stride, out.alpha(), adding);
          run(block, pass, row, tiles, isDirect(height), strip, target);
        }
        for (int r = row + tiles * step; r < endRow; r += step) {
          edge(out, block, pass, r, Math.min(step, endRow - r), isDirect(height), column, columns);
        }
      }
    }
  }

  /** A tile that reaches over the edge of the result, or into a bias. */
  private void edge(
      Result out,
      Gemm.Block block,
      int pass,
      int row,
      int rows,
      boolean isDirect,
      int column,
      int columns) {
    MemorySegment tile = edge.get();
    MemorySegment strip = strip(block, column, pass);
    Target target = new Target(tile, stripStride, tile, stripStride, 1, false);
    run(block, pass, row, 1, isDirect, strip, target);
    float[] values = new float[step * width];
    MemorySegment.copy(tile, Element.FLOAT, 0, values, 0, values.length);
    boolean first = block.first() && pass == 0;
    out.add(values, block.row() + row, rows, block.column() + column, columns, first);
  }

  /** Sums of integers, finished strip by strip while they are in the first-level cache. */
  private void scaled(
      Result out, Gemm.Block block, int firstRow, int endRow, int firstColumn, int endColumn) {
    int height = endRow - firstRow;
    int tiles = Math.ceilDiv(height, step);
    long stride = out.stride() * Float.BYTES;
    MemorySegment strip = sums.get();
    for (int column = firstColumn; column < endColumn; column += width) {
      MemorySegment to = out.from(block.row() + firstRow, block.column() + column);
      for (int pass = 0; pass < block.passes(); pass++) {
        boolean last = pass == block.passes() - 1;
        Target part =
            new Target(
                strip,
                stripStride,
                last ? to : strip,
                last ? stride : stripStride,
                1,
                pass > 0);
        run(block, pass, firstRow, tiles, isDirect(height), strip(block, column, pass), part);
      }
      int columns = Math.min(width, endColumn - column);
      MemorySegment target = columns == width ? to : edge.get();
      long distance = columns == width ? stride : stripStride;
      out.scaling()
          .apply(
              block.row() + firstRow,
              height,
              block.column() + column,
              strip,
              excess(block, column),
              target,
              distance);
      for (int r = 0; columns < width && r < height; r++) {
        MemorySegment.copy(target, r * distance, to, r * stride, (long) columns * Float.BYTES);
      }
    }
  }

  /**
   * Where tiles go.
   *
   * @param ahead rows that will be written soon, for the processor to fetch meanwhile
   */
  private record Target(
      MemorySegment to,
      long stride,
      MemorySegment ahead,
      long aheadStride,
      float alpha,
      boolean adding) {}

  private void run(
      Gemm.Block block,
      int pass,
      int row,
      int tiles,
      boolean isDirect,
      MemorySegment strip,
      Target target) {
    int depth = block.depth(pass);
    MemorySegment from = isDirect ? null : a.asSlice(rowAt(pass, row));
    if (!kernel.kind().isTiled()) {
      kernel.multiply(
          depth, tiles, from, strip, target.to, target.stride, target.alpha, target.adding);
      return;
    }
    if (isDirect) {
      long term = block.term() + (long) pass * block.depth();
      from = direct.bytes().asSlice(direct.at(block.row() + row, term));
    }
    kernel.multiplyTiles(
        depth,
        tiles,
        from,
        isDirect ? direct.stride() : A_STRIDE,
        strip,
        target.to,
        target.stride,
        target.ahead,
        target.aheadStride,
        target.adding);
  }

  private long rowAt(int pass, int row) {
    return ((long) pass * rows + row) * A_STRIDE;
  }

  private MemorySegment strip(Gemm.Block block, int column, int pass) {
    return b.asSlice(stripAt(block, column) + (long) pass * block.depth() * stripStride);
  }

  /** Where the block's part of the strip with some column begins. */
  private long stripAt(Gemm.Block block, int column) {
    long strip = (isKept ? block.column() + column : column) / width;
    return strip * stripPitch + (isKept ? block.term() * stripStride : 0);
  }

  private MemorySegment excess(Gemm.Block block, int column) {
    long strip = (isKept ? block.column() + column : column) / width;
    return b.asSlice(excessAt + strip * stripStride, stripStride);
  }
}
