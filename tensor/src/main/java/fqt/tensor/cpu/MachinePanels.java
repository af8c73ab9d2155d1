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

  /** How large tasks are, and in which order their tiles are computed. */
  sealed interface Way permits ColumnsOfTiles, RowsOfTiles {
    /** {@link Panels#tasks}. */
    int tasks();

    /** {@link Panels#taskColumns}. */
    int taskColumns(int terms);

    /** {@link Panels#columnStep}. */
    int columnStep();

    /** Bytes of sums that a task keeps aside. */
    long sumsBytes();

    /** Multiplies, and adds to the result. */
    void multiply(TileTask task);
  }

  private final TileKernel kernel;
  private final Way way;
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
    this.turn = turn;
    this.spread = spread;
    this.step = kernel.rows();
    this.width = kernel.columns();
    this.stripStride = (long) width * Float.BYTES;
    this.way =
        kernel.kind().isTiled()
            ? new RowsOfTiles(this, kernel)
            : new ColumnsOfTiles(this, kernel, steady, ahead, wide);
    this.sums = ThreadLocal.withInitial(() -> allocate(way.sumsBytes()));
    this.edge = ThreadLocal.withInitial(() -> allocate(Gemm.TASK_ROWS * stripStride));
  }

  /** Freed by the garbage collector, as the panels that hold it are. */
  private static MemorySegment allocate(long bytes) {
    return HugePages.allocate(Arena.ofAuto(), bytes, ALIGNMENT);
  }

  @Override
  public int tileRows() {
    return step;
  }

  @Override
  public int columnStep() {
    return way.columnStep();
  }

  @Override
  public int tasks() {
    return way.tasks();
  }

  @Override
  public int taskColumns(int terms) {
    return way.taskColumns(terms);
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
    way.multiply(new TileTask(this, out, block, firstRow, endRow, firstColumn, endColumn));
  }

  private long rowAt(int pass, int row) {
    return ((long) pass * rows + row) * A_STRIDE;
  }

  /** The address of a packed row. */
  long row(int pass, int row) {
    return a.address() + rowAt(pass, row);
  }

  /** The address of some rows, packed or where a is, {@link #rowStride} apart. */
  long row(Gemm.Block block, int pass, int row, int rows) {
    long term = block.term() + (long) pass * block.depth();
    return isDirect(rows)
        ? direct.bytes().address() + direct.at(block.row() + row, term)
        : row(pass, row);
  }

  /** Distance of two of these rows, in bytes. */
  long rowStride(int rows) {
    return isDirect(rows) ? direct.stride() : A_STRIDE;
  }

  /** Columns of a strip. */
  int width() {
    return width;
  }

  /** Bytes of a term of a strip, and of a row of its sums. */
  long stripStride() {
    return stripStride;
  }

  /** Distance of two strips, in bytes. */
  long stripPitch() {
    return stripPitch;
  }

  /** Memory of this thread for the sums of a task. */
  MemorySegment sums() {
    return sums.get();
  }

  /** Memory of this thread for tiles that reach over the edge of the result. */
  MemorySegment edge() {
    return edge.get();
  }

  /** The address of a pass over a strip. */
  long strip(Gemm.Block block, int column, int pass) {
    return b.address() + stripAt(block, column) + (long) pass * block.depth() * stripStride;
  }

  /** Where the block's part of the strip with some column begins. */
  private long stripAt(Gemm.Block block, int column) {
    long strip = (isKept ? block.column() + column : column) / width;
    return strip * stripPitch + (isKept ? block.term() * stripStride : 0);
  }

  /** The address of what the sums of a strip have too much. */
  long excess(Gemm.Block block, int column) {
    return b.address() + excessPlace(block, column);
  }

  private long excessPlace(Gemm.Block block, int column) {
    long strip = (isKept ? block.column() + column : column) / width;
    return excessAt + strip * stripStride;
  }
}
