package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.SpreadKernel;
import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.TileKernel.Kind;
import fqt.tensor.cpu.asm.TurnKernel;
import fqt.tensor.cpu.asm.WidePairsKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Panels off the heap for the assembled kernels. Behind the strips of b stands what each column's
 * sums have too much, in I32: zero, but where the kernel wants a unsigned and it was raised by 128.
 */
final class MachinePanels implements Panels {
  private static final long ALIGNMENT = 64;
  private static final long A_STRIDE = (long) Gemm.A_STRIDE * Float.BYTES;

  /** Most columns of a row of AMX tiles, and bytes of b that it may take in the second level. */
  private static final int ROW_OF_TILES = 512;

  private static final int ROW_BYTES = 1 << 20;

  /** Tiles of a triangle that are computed together: half as many rows are zeros on average. */
  private static final int TRIANGLE_TILES = 4;

  private final TileKernel kernel;
  private final TileKernel steady;
  private final TileKernel ahead;
  private final WidePairsKernel wide;
  private final TurnKernel turn;
  private final SpreadKernel spread;
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

  /** Panels for a kernel; {@code wide} multiplies two strips at a time where it is not null. */
  MachinePanels(
      TileKernel kernel,
      TileKernel steady,
      TileKernel ahead,
      WidePairsKernel wide,
      TurnKernel turn,
      SpreadKernel spread) {
    this.kernel = kernel;
    this.steady = steady;
    this.ahead = ahead;
    this.wide = wide;
    this.turn = turn;
    this.spread = spread;
    this.step = kernel.rows();
    this.width = kernel.columns();
    this.stripStride = (long) width * Float.BYTES;
    long columnOfTiles = Gemm.TASK_ROWS * stripStride;
    long task = columnOfTiles * Gemm.TASK_COLUMNS / width;
    long rowOfTiles = (long) step * ROW_OF_TILES * Float.BYTES;
    this.sums = ThreadLocal.withInitial(() -> allocate(Math.max(task, rowOfTiles)));
    this.edge = ThreadLocal.withInitial(() -> allocate(columnOfTiles));
  }

  /** Freed by the garbage collector, as the panels that hold it are. */
  private static MemorySegment allocate(long bytes) {
    return HugePages.allocate(Arena.ofAuto(), bytes, ALIGNMENT);
  }

  @Override
  public int tileRows() {
    return step;
  }

  /** Two strips, where tiles are that wide. */
  @Override
  public int columnStep() {
    return wide == null ? Panels.super.columnStep() : WidePairsKernel.STRIPS * width;
  }

  /** Rows of AMX tiles want to be long: their rows of a come into the first level once. */
  @Override
  public int tasks() {
    return kernel.kind().isTiled() ? 8 : Panels.super.tasks();
  }

  @Override
  public int taskColumns(int terms) {
    if (!kernel.kind().isTiled()) {
      return Gemm.TASK_COLUMNS;
    }
    int fitting = ROW_BYTES / Float.BYTES / Math.max(1, terms) / width * width;
    return Math.clamp(fitting, 2 * width, ROW_OF_TILES);
  }

  @Override
  public void begin(Operand left, int rows, int terms, int depth) {
    this.rows = rows;
    this.terms = terms;
    this.direct = kernel.kind().isTiled() && isDirect(left) ? left.raw() : null;
    long passes = Math.max(1, Math.ceilDiv(terms, depth));
    long bytes = passes * rows * A_STRIDE;
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

  /** Whether whole tiles of rows are read from where a is; a last part of one is packed. */
  private boolean isDirect(int rows) {
    return direct != null && rows % (step / 2) == 0;
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
    if (spread != null && a instanceof ByteTerms bytes && bytes.isPairs()) {
      spreadLeft(bytes, block, row, rows);
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
      clearRows(pass, row + rows, Gemm.roundUp(rows, step) - rows);
    }
    return true;
  }

  /** Rows of I8 become pairs of i16 on their way. */
  private void spreadLeft(ByteTerms bytes, Gemm.Block block, int row, int rows) {
    float[] rest = new float[SpreadKernel.BLOCK];
    for (int pass = 0; pass < block.passes(); pass++) {
      long term = block.term() + (long) pass * block.depth();
      int depth = block.depth(pass);
      int blocks = (int) Math.min(depth, bytes.wholeTerms() - term) / ByteTerms.PAIRS_OF_A_BLOCK;
      int done = Math.max(0, blocks * ByteTerms.PAIRS_OF_A_BLOCK);
      if (done > 0) {
        long from = bytes.address(block.row() + row, term);
        spread.spread(blocks, rows, from, bytes.stride(), a.address() + rowAt(pass, row), A_STRIDE);
      }
      for (int r = row; r < row + rows; r++) {
        for (int k = done; k < depth; k += rest.length) {
          int count = Math.min(rest.length, depth - k);
          bytes.readInner(block.row() + r, term + k, count, rest, 0);
          FloatRuns.write(rest, 0, count, a, rowAt(pass, r) / Float.BYTES + k);
        }
      }
      clearRows(pass, row + rows, Gemm.roundUp(rows, step) - rows);
    }
  }

  private void clearRows(int pass, int from, int count) {
    a.asSlice(rowAt(pass, from), count * A_STRIDE).fill((byte) 0);
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
      long excess = excessPlace(block, c);
      if (!raises) {
        b.asSlice(excess, stripStride).fill((byte) 0);
        continue;
      }
      MemorySegment tile = edge.get();
      for (int pass = 0; pass < block.passes(); pass++) {
        long from = raised().address();
        long strip = strip(block, c, pass);
        int depth = block.depth(pass);
        kernel.multiply(depth, 1, from, strip, tile.address(), stripStride, 1, pass > 0);
      }
      MemorySegment.copy(tile, 0, b, excess, stripStride);
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
    Task task = new Task(out, block, firstRow, endRow, firstColumn, endColumn);
    if (kernel.kind().isTiled()) {
      for (int row = firstRow; row < endRow; row += step) {
        rowOfTiles(task, row, Math.min(step, endRow - row));
      }
    } else {
      for (int pass = 0; pass < block.passes(); pass++) {
        int column = firstColumn;
        for (; wide != null && column + width < endColumn; column += 2 * width) {
          wideColumn(task, pass, column, Math.min(2 * width, endColumn - column));
        }
        for (; column < endColumn; column += width) {
          columnOfTiles(task, pass, column, Math.min(width, endColumn - column));
        }
      }
    }
  }

  /** A part of a block's result that one thread computes. */
  private record Task(
      Result out, Gemm.Block block, int firstRow, int endRow, int firstColumn, int endColumn) {
    int height() {
      return endRow - firstRow;
    }

    /** The address of a place of the block in the result. */
    long to(int row, int column) {
      return out.at(block.row() + row, block.column() + column);
    }

    long stride() {
      return out.stride() * Float.BYTES;
    }

    /** Whether kernels may set or add to the result by themselves; a bias is written first. */
    boolean isReady(int pass, int row, int rows, int column, int columns) {
      return out.readyForTiles(
          block.first() && pass == 0, block.row() + row, rows, block.column() + column, columns);
    }

    boolean adds(int pass) {
      return out.keeps(block.first() && pass == 0);
    }
  }

  /** Tiles one under the other, through which a strip of b goes from the first-level cache. */
  private void columnOfTiles(Task task, int pass, int column, int columns) {
    if (task.out.scaling() != null) {
      scaledColumn(task, pass, column, columns);
      return;
    }
    Gemm.Block block = task.block;
    boolean ready = task.isReady(pass, task.firstRow, task.height(), column, columns);
    int row = task.firstRow;
    while (row < task.endRow && !task.out.wants(block.row() + row, step, block.column() + column)) {
      row += step;
    }
    int height = ready && columns == width ? Math.max(0, task.endRow - row) : 0;
    if (height > 0 && block.shape() != Gemm.Shape.FULL) {
      for (int r = row; r < task.endRow; r += TRIANGLE_TILES * step) {
        partOfTriangle(task, pass, column, r, Math.min(r + TRIANGLE_TILES * step, task.endRow));
      }
    } else if (height > 0) {
      (block.rows() <= Gemm.TASK_ROWS ? ahead : steady)
          .multiply(
              block.depth(pass),
              height,
              a.address() + rowAt(pass, row),
              strip(block, column, pass),
              task.to(row, column),
              task.stride(),
              task.out.alpha(),
              task.adds(pass),
              next(task, pass, column),
              block.depth(pass) * (long) Float.BYTES);
    }
    for (int r = row + height; r < task.endRow; r += step) {
      edge(task, pass, r, Math.min(step, task.endRow - r), column, columns);
    }
  }

  /** The address of the strip that a task goes through next, or of one that the next task may. */
  private long next(Task task, int pass, int column) {
    boolean again = column + width >= task.endColumn && pass + 1 < task.block.passes();
    return again
        ? strip(task.block, task.firstColumn, pass + 1)
        : strip(task.block, column + width, pass);
  }

  /** The terms of some rows of a triangle that are not all zeros. */
  private void partOfTriangle(Task task, int pass, int column, int row, int endRow) {
    Gemm.Block block = task.block;
    int first = block.firstTerm(pass, row);
    int count = Math.max(0, block.endTerm(pass, endRow) - first);
    if (count > 0 || !task.adds(pass)) {
      kernel.multiply(
          count,
          endRow - row,
          a.address() + rowAt(pass, row) + (long) first * Float.BYTES,
          strip(block, column, pass) + first * stripStride,
          task.to(row, column),
          task.stride(),
          task.out.alpha(),
          task.adds(pass));
    }
  }

  private void scaledColumn(Task task, int pass, int column, int columns) {
    Gemm.Block block = task.block;
    long sums = sums(task, column);
    kernel.multiply(
        block.depth(pass),
        task.height(),
        a.address() + rowAt(pass, task.firstRow),
        strip(block, column, pass),
        sums,
        stripStride,
        1,
        pass > 0);
    if (pass + 1 == block.passes()) {
      scale(task, task.firstRow, task.height(), column, columns, sums, 0);
    }
  }

  /** The same for two strips side by side. */
  private void wideColumn(Task task, int pass, int column, int columns) {
    Gemm.Block block = task.block;
    long sums = sums(task, column);
    wide.multiply(
        block.depth(pass),
        task.height(),
        a.address() + rowAt(pass, task.firstRow),
        strip(block, column, pass),
        stripPitch,
        sums,
        Gemm.TASK_ROWS * stripStride,
        pass > 0,
        next(task, pass, column + width));
    if (pass + 1 == block.passes()) {
      scale(
          task, task.firstRow, task.height(), column, columns, sums, Gemm.TASK_ROWS * stripStride);
    }
  }

  /** The address of a strip's sums of integers. */
  private long sums(Task task, int column) {
    long strip = (long) (column - task.firstColumn) / width;
    return sums.get().address() + strip * Gemm.TASK_ROWS * stripStride;
  }

  /** Tiles side by side, through which rows of a go from the first-level cache. */
  private void rowOfTiles(Task task, int row, int rows) {
    Gemm.Block block = task.block;
    int first = task.firstColumn;
    int end = task.endColumn;
    boolean scaled = task.out.scaling() != null;
    boolean whole = rows == step || rows == step / 2;
    boolean fits = whole && (end - first) % width == 0;
    boolean aside = scaled || !fits && block.first() && task.out.isPlain();
    boolean ready = !aside && whole && task.isReady(0, row, rows, first, end - first);
    int tiles = aside ? Math.ceilDiv(end - first, width) : ready ? (end - first) / width : 0;
    Place result = new Place(task.to(row, first), task.stride(), stripStride);
    Place to = aside ? new Place(sums.get().address(), stripStride, step * stripStride) : result;
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
      scale(task, row, rows, first, end - first, to.start, to.step);
    } else if (aside) {
      copy(task, row, rows, to.step);
    }
  }

  /** Sums that were computed aside, because they fill no tile, as they are. */
  private void copy(Task task, int row, int rows, long pitch) {
    MemorySegment from = sums.get();
    for (int c = task.firstColumn; c < task.endColumn; c += width) {
      int columns = Math.min(width, task.endColumn - c);
      MemorySegment strip = from.asSlice((c - task.firstColumn) / width * pitch);
      Gemm.Block block = task.block;
      task.out.copyRows(strip, stripStride, block.row() + row, rows, block.column() + c, columns);
    }
  }

  /**
   * Where tiles side by side go.
   *
   * @param stride distance of two rows, in bytes
   * @param step distance of two tiles, in bytes
   */
  private record Place(long start, long stride, long step) {}

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
    long term = block.term() + (long) pass * block.depth();
    boolean isDirect = isDirect(rows);
    kernel.multiplyRow(
        rows <= step / 2,
        block.depth(pass),
        tiles,
        isDirect
            ? direct.bytes().address() + direct.at(block.row() + row, term)
            : a.address() + rowAt(pass, row),
        isDirect ? direct.stride() : A_STRIDE,
        strip(block, column, pass),
        stripPitch,
        to.start,
        to.stride,
        to.step,
        adding,
        next == null ? 0 : next.start,
        next == null ? 0 : next.stride);
  }

  /** A tile that reaches over the edge of the result, or into a bias. */
  private void edge(Task task, int pass, int row, int rows, int column, int columns) {
    Gemm.Block block = task.block;
    MemorySegment tile = edge.get();
    if (kernel.kind().isTiled()) {
      Place to = new Place(tile.address(), stripStride, 0);
      rowOfTiles(block, pass, row, rows, column, 1, to, false, null);
    } else {
      long from = a.address() + rowAt(pass, row);
      long strip = strip(block, column, pass);
      kernel.multiply(block.depth(pass), rows, from, strip, tile.address(), stripStride, 1, false);
    }
    float[] values = new float[step * width];
    MemorySegment.copy(tile, Element.FLOAT, 0, values, 0, values.length);
    boolean first = block.first() && pass == 0;
    task.out.add(values, block.row() + row, rows, block.column() + column, columns, first);
  }

  /** Sums of integers become results while they are near: whole strips, or a part of one. */
  private void scale(Task task, int row, int rows, int column, int columns, long sums, long pitch) {
    Gemm.Block block = task.block;
    Scaling scaling = task.out.scaling();
    long firstRow = block.row() + row;
    int whole = columns / width;
    if (whole > 0) {
      scaling.apply(
          firstRow,
          rows,
          block.column() + column,
          whole,
          sums,
          pitch,
          excess(block, column),
          task.to(row, column),
          task.stride());
    }
    int rest = columns % width;
    if (rest > 0) {
      int last = column + columns - rest;
      MemorySegment tile = edge.get();
      long excess = excess(block, last);
      long from = sums + whole * pitch;
      long to = tile.address();
      scaling.apply(firstRow, rows, block.column() + last, 1, from, pitch, excess, to, stripStride);
      task.out.copyRows(tile, stripStride, firstRow, rows, block.column() + last, rest);
    }
  }

  private long rowAt(int pass, int row) {
    return ((long) pass * rows + row) * A_STRIDE;
  }

  /** The address of a pass over a strip. */
  private long strip(Gemm.Block block, int column, int pass) {
    return b.address() + stripAt(block, column) + (long) pass * block.depth() * stripStride;
  }

  /** Where the block's part of the strip with some column begins. */
  private long stripAt(Gemm.Block block, int column) {
    long strip = (isKept ? block.column() + column : column) / width;
    return strip * stripPitch + (isKept ? block.term() * stripStride : 0);
  }

  /** The address of what the sums of a strip have too much. */
  private long excess(Gemm.Block block, int column) {
    return b.address() + excessPlace(block, column);
  }

  private long excessPlace(Gemm.Block block, int column) {
    long strip = (isKept ? block.column() + column : column) / width;
    return excessAt + strip * stripStride;
  }
}
