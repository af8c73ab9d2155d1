package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.DotKernel.Kind;
import fqt.tensor.cpu.asm.TileDotKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.ConcurrentLinkedDeque;

/**
 * Products of a few rows with a large weight by machine code that reads the weight once, in the
 * order of memory, as generation token by token wants it. The threads take ranges of rows of the
 * weight; {@link DotKernel} sums whole steps of terms, and what is left of a row is added here.
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
  private final ConcurrentLinkedDeque<MemorySegment> idle = new ConcurrentLinkedDeque<>();

  Streaming(Threads threads, DotKernels kernels) {
    this.threads = threads;
    this.kernels = kernels;
  }

  /** Whether {@link #multiply} is the way to multiply these. */
  static boolean serves(Operand x, Operand w) {
    return x.outer() <= MOST_ROWS
        && w instanceof Operand.Strided dense
        && dense.innerStride() == 1
        && kind(dense.type()) != null;
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
    int step = step(kind, tiles);
    int whole = depth / step * step;
    float[] inputs = new float[rows * depth];
    for (int m = 0; m < rows; m++) {
      x.readInner(m, 0, depth, inputs, m * depth);
    }
    Left left =
        tiles == null
            ? arranged(kind, inputs, rows, depth, whole)
            : turned(tiles, rows, TileRows.of(inputs, rows, depth, whole, parts));
    long stride = w.outerStride() * kind.bytes;
    MemorySegment first = w.bytes().asSlice(w.offset() * kind.bytes);
    threads.forEach(
        w.outer(),
        grain(stride, w.outer()),
        (from, to) -> {
          int count = (int) (to - from);
          Sums sums = new Sums(rows, count);
          dots(kind, whole / step, left, first.asSlice(from * stride), stride, sums);
          float[] values = new float[count];
          float[] rest = new float[depth - whole];
          for (int m = 0; m < rows; m++) {
            sums.read(m, values);
            for (int n = 0; rest.length > 0 && n < count; n++) {
              w.readInner(from + n, whole, rest.length, rest, 0);
              values[n] = addRest(values[n], inputs, m * depth + whole, rest);
            }
            out.addRow(values, m, (int) from, count);
          }
        });
    idle.addFirst(left.memory);
  }

  /** Terms of one step: sums by machine code run over whole steps. */
  private int step(Kind kind, TileDotKernel tiles) {
    return tiles == null ? DotKernel.step(kind, kernels.bits()) : TileDotKernel.STEP / kind.bytes;
  }

  private Left arranged(Kind kind, float[] inputs, int rows, int depth, int whole) {
    Left left = left(rows, (long) whole * Float.BYTES);
    float[] line = new float[whole];
    for (int m = 0; m < rows; m++) {
      arrange(kind, inputs, m * depth, DotKernel.step(kind, kernels.bits()) / 2, line);
      MemorySegment.copy(line, 0, left.memory, Element.FLOAT, m * left.stride, whole);
    }
    return left;
  }

  private Left turned(TileDotKernel tiles, int rows, float[] table) {
    MemorySegment memory = take((long) table.length * Float.BYTES);
    MemorySegment.copy(table, 0, memory, Element.FLOAT, 0, table.length);
    return new Left(memory, rows, 0, tiles);
  }

  /** As it is, or for bf16 first the even and then the odd ones of each step. */
  private static void arrange(Kind kind, float[] from, int at, int half, float[] to) {
    if (kind != Kind.BF16) {
      System.arraycopy(from, at, to, 0, to.length);
      return;
    }
    for (int done = 0; done < to.length; done += 2 * half) {
      for (int i = 0; i < half; i++) {
        to[done + i] = from[at + done + 2 * i];
        to[done + half + i] = from[at + done + 2 * i + 1];
      }
    }
  }

  private static float addRest(float sum, float[] x, int at, float[] w) {
    for (int k = 0; k < w.length; k++) {
      sum = Math.fma(x[at + k], w[k], sum);
    }
    return sum;
  }

  /** What takes exact sums of bytes: one row of them at a time. */
  interface ByteSums {
    /** Takes the sums of row {@code m} from column {@code from} on. */
    void take(int m, int from, int[] sums);
  }

  /** {@code x wᵀ} of I8 matrices with unit column stride. */
  void multiplyBytes(Tensor x, Tensor w, ByteSums out) {
    Kind kind = kernels.bytes();
    int rows = (int) x.dim(0);
    int depth = Math.toIntExact(x.dim(1));
    TileDotKernel tiles = kernels.tiles(kind, rows, depth, 1);
    int step = step(kind, tiles);
    int whole = depth / step * step;
    byte[][] inputs = new byte[rows][depth];
    for (int m = 0; m < rows; m++) {
      long at = x.offset() + m * x.stride(0);
      MemorySegment.copy(x.storage().segment(), Element.BYTE, at, inputs[m], 0, depth);
    }
    int[] excess = new int[rows];
    Left left =
        tiles == null
            ? stored(kind, inputs, whole, excess)
            : turned(tiles, rows, TileRows.of(inputs, whole));
    long stride = w.stride(0);
    MemorySegment bytes = w.storage().segment();
    threads.forEach(
        w.dim(0),
        grain(stride, w.dim(0)),
        (from, to) -> {
          int count = (int) (to - from);
          Sums sums = new Sums(rows, count);
          long first = w.offset() + from * stride;
          dots(kind, whole / step, left, bytes.asSlice(first), stride, sums);
          int[] values = new int[count];
          for (int m = 0; m < rows; m++) {
            sums.read(m, values);
            for (int n = 0; n < count; n++) {
              values[n] -= excess[m];
            }
            for (int n = 0; whole < depth && n < count; n++) {
              values[n] += rest(inputs[m], bytes, first + n * stride, whole);
            }
            out.take(m, (int) from, values);
          }
        });
    idle.addFirst(left.memory);
  }

  private Left stored(Kind kind, byte[][] inputs, int whole, int[] excess) {
    Left left = left(inputs.length, kind == Kind.PAIRS ? 2L * whole : whole);
    for (int m = 0; m < inputs.length; m++) {
      excess[m] = store(kind, inputs[m], whole, left.memory.asSlice(m * left.stride));
    }
    return left;
  }

  /** Stores x in the form that the kernel wants; returns what its sums will have too much. */
  private static int store(Kind kind, byte[] x, int whole, MemorySegment to) {
    if (kind == Kind.PAIRS) {
      short[] wide = new short[whole];
      for (int k = 0; k < whole; k++) {
        wide[k] = x[k];
      }
      MemorySegment.copy(wide, 0, to, Element.SHORT, 0, whole);
      return 0;
    }
    MemorySegment.copy(x, 0, to, ValueLayout.JAVA_BYTE, 0, whole);
    int sum = 0;
    for (int k = 0; k < whole; k++) {
      sum += x[k];
    }
    return 128 * sum;
  }

  private static int rest(byte[] x, MemorySegment w, long at, int from) {
    int sum = 0;
    for (int k = from; k < x.length; k++) {
      sum += x[k] * w.get(Element.BYTE, at + k);
    }
    return sum;
  }

  /** Sums over whole steps: all rows of x, block by block of the weight. */
  private void dots(Kind kind, long steps, Left left, MemorySegment w, long stride, Sums sums) {
    if (left.tiles != null) {
      TileRows.multiply(left.tiles, steps, left.memory, left.rows, w, stride, sums);
      return;
    }
    int passes = Math.ceilDiv(left.rows, DotKernel.mostRows(kernels.bits()));
    int whole = sums.count / DotKernel.GROUP * DotKernel.GROUP;
    if (passes == 1 && whole > 0) {
      // Four streams, each of a quarter of the rows.
      sums.quarter = whole / DotKernel.GROUP;
      kernels
          .dots(kind, left.rows, 1)
          .multiply(
              steps,
              sums.quarter,
              left.memory,
              left.stride,
              w,
              sums.quarter * stride,
              stride,
              sums.memory,
              sums.stride,
              0);
    }
    int block = blockRows(stride);
    for (int n = 0; passes > 1 && n < whole; n += block) {
      int groups = Math.min(block, whole - n) / DotKernel.GROUP;
      for (int pass = 0; pass < passes; pass++) {
        int m = left.rows * pass / passes;
        kernels
            .dots(kind, left.rows * (pass + 1) / passes - m, passes)
            .multiply(
                steps,
                groups,
                left.row(m),
                left.stride,
                w.asSlice(n * stride),
                stride,
                DotKernel.GROUP * stride,
                sums.at(m, n),
                sums.stride,
                pass);
      }
    }
    for (int n = whole; n < sums.count; n++) {
      // The same row four times: nothing is read that is not there.
      for (int m = 0; m < left.rows; m++) {
        kernels
            .dots(kind, 1, 1)
            .multiply(
                steps,
                1,
                left.row(m),
                0,
                w.asSlice(n * stride),
                0,
                0,
                sums.at(m, n),
                sums.stride,
                0);
      }
    }
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

  /** The rows of x as a kernel wants them; tiles is null where vectors multiply. */
  private record Left(MemorySegment memory, int rows, long stride, TileDotKernel tiles) {
    MemorySegment row(int m) {
      return memory.asSlice(m * stride);
    }
  }

  private Left left(int rows, long bytes) {
    // Not a power of two apart, so that rows do not share cache sets.
    long stride = Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT + ALIGNMENT;
    return new Left(take(rows * stride), rows, stride, null);
  }

  /** Memory that an earlier product left, if it is large enough. */
  MemorySegment take(long size) {
    MemorySegment free = idle.pollFirst();
    return free != null && free.byteSize() >= size
        ? free
        : Arena.ofAuto().allocate(size, ALIGNMENT);
  }

  /** Takes memory back. */
  void give(MemorySegment memory) {
    idle.addFirst(memory);
  }

  // Reused, because new ones are never in the cache.
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(1 << 16, ALIGNMENT));

  /** Room for the sums of one range, one row after the other; valid until the next is made. */
  static final class Sums {
    final MemorySegment memory;
    final int count;
    final long stride;

    /** Rows of each of four streams whose sums lie by turns, or 0 if all are in order. */
    int quarter;

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

    /** The sums of a row of x, in the order of the rows of the weight. */
    void read(int m, float[] values) {
      int whole = quarter * DotKernel.GROUP;
      for (int i = 0; i < whole; i++) {
        values[place(i)] = memory.get(Element.FLOAT, m * stride + (long) i * Float.BYTES);
      }
      long rest = m * stride + (long) whole * Float.BYTES;
      MemorySegment.copy(memory, Element.FLOAT, rest, values, whole, count - whole);
    }

    /** The same of sums of integers. */
    void read(int m, int[] values) {
      int whole = quarter * DotKernel.GROUP;
      for (int i = 0; i < whole; i++) {
        values[place(i)] = memory.get(Element.INT, m * stride + (long) i * Integer.BYTES);
      }
      long rest = m * stride + (long) whole * Integer.BYTES;
      MemorySegment.copy(memory, Element.INT, rest, values, whole, count - whole);
    }

    private int place(int i) {
      return i % DotKernel.GROUP * quarter + i / DotKernel.GROUP;
    }
  }
}
