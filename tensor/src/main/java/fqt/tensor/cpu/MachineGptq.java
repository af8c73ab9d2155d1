package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.ColumnKernel;
import fqt.tensor.cpu.asm.SquareKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.SoftReference;

/**
 * The column loop of GPTQ by machine code: strips of rows are turned on their side, worked on, and
 * turned back. Rows that have a NaN or an infinity go through {@link GptqKernel}.
 */
final class MachineGptq {
  private static final int ROWS = ColumnKernel.ROWS;
  private static final int SIDE = SquareKernel.SIDE;
  private static final int COLUMN_BYTES = ColumnKernel.COLUMN_BYTES;

  /** Codes in a turned square of words. */
  private static final int WORD_CODES = SIDE * ColumnKernel.COLUMNS;

  /** Squares of a strip that lies on its side, eight rows after the other. */
  private static final SquareKernel.Layout TURNED =
      new SquareKernel.Layout(COLUMN_BYTES, SIDE * COLUMN_BYTES, SIDE * Float.BYTES);

  private static final ThreadLocal<SoftReference<Strip>> STRIPS =
      ThreadLocal.withInitial(() -> new SoftReference<>(null));

  private final ColumnKernel kernel;
  private final SquareKernel squares;
  private final Tensor w;
  private final Tensor u;
  private final Tensor scale;
  private final Tensor zero;
  private final float high;
  private final Tensor codes;
  private final Tensor error;
  private final int width;
  private final int groups;
  private final MemorySegment factor;

  MachineGptq(
      RowKernels machine,
      Tensor w,
      Tensor u,
      Tensor scale,
      Tensor zero,
      float high,
      Tensor codes,
      Tensor error) {
    this.kernel = machine.columns();
    this.squares = machine.squares();
    this.w = w;
    this.u = u;
    this.scale = scale;
    this.zero = zero;
    this.high = high;
    this.codes = codes;
    this.error = error;
    this.width = Math.toIntExact(w.dim(1));
    this.groups = Math.ceilDiv(width, ColumnKernel.COLUMNS);
    this.factor = factor();
  }

  void run(Threads threads) {
    threads.forEach(w.dim(0), ROWS, this::strip);
  }

  /**
   * The triangle as the kernel reads it; columns behind the last divide by 1 and change nothing.
   */
  private MemorySegment factor() {
    float[] rows = new float[width * width];
    Operand upper = Operand.left(u);
    for (int i = 0; i < width; i++) {
      upper.readInner(i, 0, width, rows, i * width);
    }
    float[] grouped = new float[Math.toIntExact(ColumnKernel.factorLength(groups))];
    int at = 0;
    for (int first = 0; first < width; first += ColumnKernel.COLUMNS) {
      for (int i = 0; i < first + ColumnKernel.COLUMNS; i++) {
        for (int j = first; j < first + ColumnKernel.COLUMNS; j++) {
          grouped[at++] = i < width && j < width ? rows[i * width + j] : i == j ? 1 : 0;
        }
      }
    }
    MemorySegment packed = Arena.ofAuto().allocate((long) grouped.length * Float.BYTES, 64);
    MemorySegment.copy(grouped, 0, packed, Element.FLOAT, 0, grouped.length);
    return packed;
  }

  /** The memory of some rows on their side; columns are whole squares of words. */
  private static final class Strip {
    private final int columns;
    private final MemorySegment x;
    private final MemorySegment scale;
    private final MemorySegment zero;
    private final MemorySegment error;
    private final MemorySegment codes;
    private final MemorySegment lines;
    private final MemorySegment parameters;

    Strip(int width) {
      Arena arena = Arena.ofAuto();
      columns = Math.ceilDiv(width, WORD_CODES) * WORD_CODES;
      long bytes = (long) columns * COLUMN_BYTES;
      x = arena.allocate(bytes, 64);
      scale = arena.allocate(bytes, 64);
      zero = arena.allocate(bytes, 64);
      error = arena.allocate(bytes, 64);
      codes = arena.allocate(bytes / ColumnKernel.COLUMNS, 64);
      lines = arena.allocate((long) SIDE * columns * Float.BYTES, 64);
      parameters = arena.allocate(ColumnKernel.PARAMETER_BYTES, 64);
    }

    static Strip of(int width) {
      Strip kept = STRIPS.get().get();
      if (kept == null || kept.columns < width) {
        kept = new Strip(width);
        STRIPS.set(new SoftReference<>(kept));
      }
      return kept;
    }
  }

  private void strip(long from, long to) {
    Strip strip = Strip.of(width);
    load(w, from, to, 0, strip.lines, strip.x);
    load(scale, from, to, 1, strip.lines, strip.scale);
    load(zero, from, to, 0, strip.lines, strip.zero);
    long next = Math.min(to, w.dim(0) - 1);
    boolean byColumns = scale.stride(0) == 1 && zero.stride(0) == 1;
    boolean byRows = scale.stride(1) == 1 && zero.stride(1) == 1;
    int outer = byColumns ? 1 : 0;
    ask(strip.parameters, 0, w, next, 0);
    ask(strip.parameters, 1, byColumns || byRows ? scale : w, next, outer);
    ask(strip.parameters, 2, byColumns || byRows ? zero : w, next, outer);
    if (kernel.run(
        groups,
        strip.x,
        strip.scale,
        strip.zero,
        strip.error,
        strip.codes,
        factor,
        high,
        strip.parameters,
        byColumns)) {
      store(strip.x, SIDE, w, from, to, strip.lines);
      store(strip.error, SIDE, error, from, to, strip.lines);
      store(strip.codes, WORD_CODES, codes, from, to, strip.lines);
    } else {
      new GptqKernel(w, u, scale, zero, high, codes, error).rows(from, to);
    }
  }

  /** Says that a matrix is wanted from a row on, by rows (0) or by columns (1). */
  private static void ask(MemorySegment parameters, int matrix, Tensor x, long row, int outer) {
    int size = x.dtype().byteSize();
    long offset = (x.offset() + row * x.stride(0)) * size;
    long address = x.storage().segment().address() + offset;
    ColumnKernel.next(parameters, matrix, address, x.stride(outer) * size);
  }

  /** Turns some rows on their side, absent ones and columns behind the last filled up. */
  private void load(
      Tensor x, long from, long to, float fill, MemorySegment lines, MemorySegment turned) {
    boolean even = x.dtype() == DType.F32 && width % SIDE == 0;
    if (even && to - from == ROWS && x.stride(0) == 1) {
      copyTurned(x, from, turned);
      return;
    }
    int whole = even && x.stride(1) == 1 ? (int) (to - from) / SIDE : 0;
    long wide = Math.ceilDiv(width, SIDE);
    if (whole > 0) {
      SquareKernel.Layout layout = squaresOfRows(x.stride(0) * Float.BYTES);
      squares.turn(whole, wide, rows(x, from, whole * SIDE), layout, turned, TURNED);
    }
    SquareKernel.Layout layout = squaresOfRows(wide * SIDE * Float.BYTES);
    for (long first = (long) whole * SIDE; first < ROWS; first += SIDE) {
      int present = Math.clamp(to - from - first, 0, SIDE);
      readLines(x, from + first, present, fill, lines, layout.stride());
      squares.turn(1, wide, lines, layout, turned.asSlice(first * Float.BYTES), TURNED);
    }
  }

  /** A strip of a matrix whose columns are dense. */
  private void copyTurned(Tensor x, long from, MemorySegment turned) {
    MemorySegment all = x.storage().segment();
    for (int i = 0; i < width; i++) {
      long at = (x.offset() + from + i * x.stride(1)) * Float.BYTES;
      for (int part = 0; part < COLUMN_BYTES; part += Lanes.F.vectorByteSize()) {
        Lanes.store(Lanes.load(all, at + part), turned, (long) i * COLUMN_BYTES + part);
      }
    }
  }

  /** Reads some rows of a square; what is absent is filled up. */
  private void readLines(
      Tensor x, long row, int present, float fill, MemorySegment lines, long stride) {
    for (long i = 0; i < SIDE * stride; i += Float.BYTES) {
      lines.set(Element.FLOAT, i, fill);
    }
    float[] line = new float[width];
    for (int i = 0; i < present; i++) {
      Operand.left(x).readInner(row + i, 0, width, line, 0);
      MemorySegment.copy(line, 0, lines, Element.FLOAT, i * stride, width);
    }
  }

  /** Turns a strip back; {@code wide} elements of the tensor are in a square's row. */
  private void store(
      MemorySegment turned, int wide, Tensor x, long from, long to, MemorySegment lines) {
    long count = Math.ceilDiv(width, wide);
    int size = x.dtype().byteSize();
    int whole = width % wide == 0 ? (int) (to - from) / SIDE : 0;
    if (whole > 0) {
      SquareKernel.Layout layout = squaresOfRows(x.stride(0) * size);
      squares.turn(whole, count, turned, TURNED, rows(x, from, whole * SIDE), layout);
    }
    SquareKernel.Layout layout = squaresOfRows(count * SIDE * Float.BYTES);
    for (long first = (long) whole * SIDE; from + first < to; first += SIDE) {
      squares.turn(1, count, turned.asSlice(first * Float.BYTES), TURNED, lines, layout);
      for (int i = 0; i < Math.min(SIDE, to - from - first); i++) {
        MemorySegment line = rows(x, from + first + i, 1);
        MemorySegment.copy(lines, i * layout.stride(), line, 0, (long) width * size);
      }
    }
  }

  /** Squares side by side in rows that are so many bytes apart. */
  private static SquareKernel.Layout squaresOfRows(long stride) {
    return new SquareKernel.Layout(stride, SIDE * Float.BYTES, SIDE * stride);
  }

  /** Some rows of a matrix whose columns lie side by side. */
  private static MemorySegment rows(Tensor x, long row, int count) {
    int size = x.dtype().byteSize();
    long bytes = ((count - 1) * x.stride(0) + x.dim(1)) * size;
    return x.storage().segment().asSlice((x.offset() + row * x.stride(0)) * size, bytes);
  }
}
