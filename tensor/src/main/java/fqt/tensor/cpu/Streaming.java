package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.DotKernel.End;
import fqt.tensor.cpu.asm.DotKernel.Kind;
import fqt.tensor.cpu.asm.MachineFunction;
import fqt.tensor.cpu.asm.TileDotKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Products of a few rows with a large weight by machine code that reads the weight once, in the
 * order of memory, as generation token by token wants it. The threads take ranges of rows of the
 * weight.
 */
final class Streaming {
  /** Rows of x up to which this is faster than packing. */
  static final int MOST_ROWS = 16;

  /** Bytes of the weight in one range of the loop over its rows, at most. */
  private static final long GRAIN = 1 << 19;

  /** Ranges that a loop has at least, if they are large enough to be worth a call. */
  private static final long RANGES = 16;

  /** Bytes of the weight that stay in the cache while all rows of x pass. */
  private static final long BLOCK = 1 << 15;

  private static final long ALIGNMENT = 64;

  private final Threads threads;
  private final DotKernels kernels;
  private final Scratch scratch = new Scratch();

  Streaming(Threads threads, DotKernels kernels) {
    this.threads = threads;
    this.kernels = kernels;
  }

  /** Whether {@link #multiply} is the way to multiply these. */
  boolean serves(Operand x, Operand w) {
    return x.outer() <= MOST_ROWS
        && w instanceof Operand.Strided dense
        && dense.innerStride() == 1
        && kind(dense.type()) != null
        && x.inner() >= DotKernel.step(kind(dense.type()), kernels.bits());
  }

  /** Whether {@link #multiplyBytes} is the way to multiply so many rows of so many terms. */
  boolean servesBytes(long rows, long depth) {
    return rows <= MOST_ROWS && depth >= DotKernel.step(kernels.bytes(), kernels.bits());
  }

  private static Kind kind(DType type) {
    return switch (type) {
      case F32 -> Kind.F32;
      case BF16 -> Kind.BF16;
      case F16 -> Kind.F16;
      default -> null;
    };
  }

  /** {@code out = alpha * x wᵀ + beta * out + bias}; w dense along its inner dimension. */
  void multiply(Operand x, Operand.Strided w, Result out) {
    Kind kind = kind(w.type());
    int rows = (int) x.outer();
    int depth = Math.toIntExact(x.inner());
    int parts = TileRows.parts(x);
    TileDotKernel tiles = kernels.tiles(kind, rows, depth, parts);
    Weight weight = new Weight(kind, w.bytes(), w.offset() * kind.bytes, w.outerStride());
    float[] bias = out.bias();
    Left left = tiles == null ? arranged(kind, x, bias) : turned(tiles, rows, table(x, parts));
    if (tiles == null && out.alpha() == 1 && out.beta() == 0) {
      long shift = bias == null ? 0 : left.add(bias);
      End end = new End(out.at(0, 0), out.stride() * Float.BYTES, shift, 0, 0, 0);
      forEach(
          w.outer(),
          weight,
          left,
          out,
          (from, to) -> dots(weight, depth, left, from, (int) (to - from), end.at(0, from)));
      return;
    }
    forEach(
        w.outer(),
        weight,
        left,
        out,
        (from, to) -> {
          int count = (int) (to - from);
          Sums sums = new Sums(rows, count);
          sums(weight, depth, left, from, sums);
          float[] values = new float[count];
          for (int m = 0; m < rows; m++) {
            sums.read(m, values);
            out.addRow(values, m, (int) from, count);
          }
        });
  }

  /** Rows of x for vectors, with room for a bias. */
  private Left arranged(Kind kind, Operand x, float[] bias) {
    int depth = Math.toIntExact(x.inner());
    long bytes = DotInputs.rowBytes(kind, kernels.bits(), depth);
    Left left = left((int) x.outer(), bytes, bias == null ? 0 : bias.length);
    for (int m = 0; m < left.rows; m++) {
      DotInputs.floats(kind, kernels.bits(), x, m, depth, left.memory, m * left.stride);
    }
    return left;
  }

  private static float[] table(Operand x, int parts) {
    int rows = (int) x.outer();
    int depth = Math.toIntExact(x.inner());
    float[] values = new float[rows * depth];
    for (int m = 0; m < rows; m++) {
      x.readInner(m, 0, depth, values, m * depth);
    }
    return TileRows.of(values, rows, parts);
  }

  private Left turned(TileDotKernel tiles, int rows, float[] table) {
    MemorySegment memory = scratch.take((long) table.length * Float.BYTES);
    MemorySegment.copy(table, 0, memory, Element.FLOAT, 0, table.length);
    return new Left(memory, rows, 0, tiles);
  }

  /**
   * {@code out[m][n] = (Σ x[m][k] w[n][k]) * (perRow[m] * perColumn[n]) + bias[n]} of I8 matrices
   * with unit column stride.
   */
  void multiplyBytes(
      Tensor x, float[] perRow, Tensor w, float[] perColumn, float[] bias, Tensor out) {
    Kind kind = kernels.bytes();
    int rows = (int) x.dim(0);
    int depth = Math.toIntExact(x.dim(1));
    TileDotKernel tiles = kernels.tiles(kind, rows, depth, 1);
    Weight weight = new Weight(kind, w.storage().segment(), w.offset(), w.stride(0));
    Result result = Result.of(out, 1, 0, null, false);
    if (tiles == null) {
      int[] excess = new int[rows];
      Left left = arranged(kind, x, excess, 2 * (rows + perColumn.length));
      long tooMuch = left.add(excess);
      long scales = left.add(perColumn);
      long shift = bias == null ? 0 : left.add(bias);
      long stride = result.stride() * Float.BYTES;
      End end = new End(result.at(0, 0), stride, shift, scales, left.add(perRow), tooMuch);
      forEach(
          w.dim(0),
          weight,
          left,
          out,
          (from, to) -> dots(weight, depth, left, from, (int) (to - from), end.at(0, from)));
      return;
    }
    byte[][] inputs = new byte[rows][depth];
    for (int m = 0; m < rows; m++) {
      long at = x.offset() + m * x.stride(0);
      MemorySegment.copy(x.storage().segment(), Element.BYTE, at, inputs[m], 0, depth);
    }
    Left left = turned(tiles, rows, TileRows.of(inputs));
    forEach(
        w.dim(0),
        weight,
        left,
        out,
        (from, to) -> {
          int count = (int) (to - from);
          Sums sums = new Sums(rows, count);
          sums(weight, depth, left, from, sums);
          int[] values = new int[count];
          for (int m = 0; m < rows; m++) {
            sums.read(m, values);
            float[] line = scaled(values, perRow[m], perColumn, bias, (int) from);
            result.addRow(line, m, (int) from, count);
          }
        });
  }

  private static float[] scaled(
      int[] sums, float ofRow, float[] perColumn, float[] bias, int from) {
    float[] line = new float[sums.length];
    for (int n = 0; n < line.length; n++) {
      line[n] = sums[n] * (perColumn[from + n] * ofRow);
    }
    for (int n = 0; bias != null && n < line.length; n++) {
      line[n] += bias[from + n];
    }
    return line;
  }

  /** Rows of x for vectors, with room for more numbers; what their sums will have too much. */
  private Left arranged(Kind kind, Tensor x, int[] excess, int more) {
    int depth = (int) x.dim(1);
    Left left = left(excess.length, DotInputs.rowBytes(kind, kernels.bits(), depth), more);
    MemorySegment bytes = x.storage().segment();
    for (int m = 0; m < excess.length; m++) {
      long from = x.offset() + m * x.stride(0);
      long to = m * left.stride;
      excess[m] = DotInputs.bytes(kind, kernels.bits(), bytes, from, depth, left.memory, to);
    }
    return left;
  }

  /** A weight: where its first row is, and bytes from a row to the next. */
  private record Weight(Kind kind, MemorySegment bytes, long start, long stride) {
    /** With a distance in numbers. */
    Weight {
      stride *= kind.bytes;
    }

    /** Where a row is. */
    long at(long row) {
      return start + row * stride;
    }

    long address(long row) {
      return MachineFunction.address(bytes) + at(row);
    }
  }

  /** Shares out the rows of the weight, and gives back what x lay in. */
  private void forEach(long rows, Weight w, Left left, Object out, Threads.Range body) {
    try {
      threads.forEach(rows, grain(w.stride, rows), body);
    } finally {
      // The kernels know addresses only.
      Reference.reachabilityFence(w);
      Reference.reachabilityFence(left);
      Reference.reachabilityFence(out);
    }
    scratch.give(left.memory);
  }

  /** The sums of some rows of the weight. */
  private void sums(Weight w, long depth, Left left, long from, Sums sums) {
    if (left.tiles == null) {
      End end = new End(sums.memory.address(), sums.stride, 0, 0, 0, 0);
      dots(w, depth, left, from, sums.count, end);
    } else {
      MemorySegment first = w.bytes.asSlice(w.at(from));
      long steps = depth * w.kind.bytes / TileDotKernel.STEP;
      TileRows.multiply(left.tiles, steps, left.memory, left.rows, first, w.stride, sums);
    }
  }

  /** Some rows of the weight with all rows of x. */
  private void dots(Weight w, long depth, Left left, long from, int count, End end) {
    int passes = Math.ceilDiv(left.rows, DotKernel.mostRows(kernels.bits()));
    int whole = count / DotKernel.GROUP * DotKernel.GROUP;
    if (passes == 1 && whole > 0) {
      // Four streams, each of a quarter of the rows.
      int quarter = whole / DotKernel.GROUP;
      kernel(w.kind, left.rows, 1, end)
          .multiply(
              depth, quarter, left.at(0), left.stride, w.address(from), quarter, w.stride, end, 0);
    }
    int block = blockRows(w.stride);
    for (int n = 0; passes > 1 && n < whole; n += block) {
      int groups = Math.min(block, whole - n) / DotKernel.GROUP;
      for (int pass = 0; pass < passes; pass++) {
        int m = left.rows * pass / passes;
        kernel(w.kind, left.rows * (pass + 1) / passes - m, passes, end)
            .multiply(
                depth,
                groups,
                left.at(m),
                left.stride,
                w.address(from + n),
                1,
                w.stride,
                end.at(m, n),
                pass);
      }
    }
    for (int n = whole; n < count; n++) {
      // The same row four times: nothing is read that is not there.
      for (int m = 0; m < left.rows; m++) {
        kernel(w.kind, 1, 1, end)
            .multiply(depth, 1, left.at(m), 0, w.address(from + n), 0, w.stride, end.at(m, n), 0);
      }
    }
  }

  private DotKernel kernel(Kind kind, int rows, int passes, End end) {
    return kernels.dots(kind, rows, passes, end.columns() != 0, end.bias() != 0);
  }

  /** Rows of the weight that stay in the cache while all rows of x pass. */
  static int blockRows(long stride) {
    long rows = BLOCK / Math.max(1, stride);
    return (int) Math.max(1, rows / DotKernel.GROUP) * DotKernel.GROUP;
  }

  /** Rows of the weight in one range: whole groups. */
  static long grain(long stride, long rows) {
    long bytes = Math.clamp(rows * stride / RANGES, GRAIN / RANGES, GRAIN);
    return Math.max(1, bytes / Math.max(1, stride) / DotKernel.GROUP) * DotKernel.GROUP;
  }

  /**
   * The rows of x as a kernel wants them, and numbers behind them; tiles is null where vectors
   * multiply.
   */
  private static final class Left {
    private final MemorySegment memory;
    private final int rows;
    private final long stride;
    private final TileDotKernel tiles;
    private long used;

    Left(MemorySegment memory, int rows, long stride, TileDotKernel tiles) {
      this.memory = memory;
      this.rows = rows;
      this.stride = stride;
      this.tiles = tiles;
      this.used = rows * stride;
    }

    /** The address of a row. */
    long at(int row) {
      return memory.address() + row * stride;
    }

    /** Copies numbers behind what is there; their address. */
    long add(float[] numbers) {
      MemorySegment.copy(numbers, 0, memory, Element.FLOAT, used, numbers.length);
      return added(numbers.length);
    }

    /** The same of whole numbers. */
    long add(int[] numbers) {
      MemorySegment.copy(numbers, 0, memory, Element.INT, used, numbers.length);
      return added(numbers.length);
    }

    private long added(int count) {
      long start = memory.address() + used;
      used += (long) count * Float.BYTES;
      return start;
    }
  }

  private Left left(int rows, long bytes, int numbers) {
    // Not a power of two apart, so that rows do not share cache sets.
    long stride = Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT + ALIGNMENT;
    return new Left(scratch.take(rows * stride + (long) numbers * Float.BYTES), rows, stride, null);
  }

  // Reused, because new ones are never in the cache.
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(1 << 16, ALIGNMENT));

  /** Room for the sums of one range, one row after the other; valid until the next is made. */
  static final class Sums {
    final MemorySegment memory;
    final int count;
    final long stride;

    private final long tilesAt;

    Sums(int rows, int count) {
      this.count = count;
      this.stride = (long) (count + 2 * DotKernel.GROUP) * Float.BYTES;
      this.tilesAt = Math.ceilDiv(rows * stride, ALIGNMENT) * ALIGNMENT;
      long size = tilesAt + (long) (count + TileDotKernel.SIDE) * TileDotKernel.STEP;
      MemorySegment scratch = SCRATCH.get();
      if (scratch.byteSize() < size) {
        scratch = Arena.ofAuto().allocate(size, ALIGNMENT);
        SCRATCH.set(scratch);
      }
      this.memory = scratch;
    }

    /** Room for the tiles that hold the sums at first. */
    MemorySegment tiles() {
      return memory.asSlice(tilesAt);
    }

    MemorySegment at(int m, int n) {
      return memory.asSlice(m * stride + (long) n * Float.BYTES);
    }

    /** The sums of a row of x. */
    void read(int m, float[] values) {
      MemorySegment.copy(memory, Element.FLOAT, m * stride, values, 0, count);
    }

    /** The same of sums of integers. */
    void read(int m, int[] values) {
      MemorySegment.copy(memory, Element.INT, m * stride, values, 0, count);
    }
  }
}
