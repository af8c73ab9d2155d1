package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.NibbleKernel;
import fqt.tensor.cpu.asm.WidenKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Products of a few rows with a weight of 4-bit codes, by {@link NibbleKernel}, which multiplies
 * codes as integers; {@link NibbleTable} says how precise x stays.
 */
final class Nibbles {
  private final Threads threads;
  private final DotKernels kernels;
  private final Streaming streaming;

  Nibbles(Threads threads, DotKernels kernels, Streaming streaming) {
    this.threads = threads;
    this.kernels = kernels;
    this.streaming = streaming;
  }

  /** Whether {@link #multiply} can multiply these. */
  static boolean serves(Operand x, PackedWeight w) {
    return x.outer() <= Streaming.MOST_ROWS
        && w.bits() == 4
        && w.groupIndex() == null
        && DotKernels.nibbleGroup(w.groupSize(), w.columns()) > 0;
  }

  /**
   * {@code out = x wᵀ + bias}.
   *
   * @return whether x is finite everywhere; if not, nothing was done
   */
  boolean multiply(Operand x, PackedWeight w, Result out) {
    int depth = Math.toIntExact(x.inner());
    int digits = x instanceof Operand.Strided of && of.type() != DType.F32 ? 2 : 3;
    NibbleKernel kernel =
        kernels.nibbles(DotKernels.nibbleGroup(w.groupSize(), depth), digits, w.zeros() != null);
    int rows = (int) x.outer();
    // A single row passes but once: fewer calls, whose scales still fit into the nearest cache.
    int block = (rows == 1 ? 4 : 1) * Streaming.blockRows(depth / 2);
    NibbleTable table = new NibbleTable(kernel, rows, depth, block);
    MemorySegment memory = streaming.take(table.bytes());
    boolean finite = table.fill(x, memory);
    if (finite) {
      Call call = new Call(table, memory, w, kernels.widen(w.scales().dtype()));
      threads.forEach(
          w.rows(), Streaming.grain(depth / 2, w.rows()), (from, to) -> call.range(from, to, out));
    }
    streaming.give(memory);
    return finite;
  }

  /** What all ranges of one product share. */
  private record Call(NibbleTable table, MemorySegment memory, PackedWeight w, WidenKernel widen) {
    /** The sums of some rows of the weight. */
    void range(long from, long to, Result out) {
      Streaming.Sums sums = new Streaming.Sums(table.rows(), (int) (to - from));
      int block = table.blockRows();
      Scales scales = new Scales(w, table.groups(), widen, block);
      for (int n = 0; n < sums.count; n += block) {
        int count = Math.min(block, sums.count - n);
        for (int m = 0; m < table.rows(); m++) {
          scales.read(from + n, count, table.units(memory, m));
          block(m, from, n, count, scales, sums);
        }
      }
      float[] values = new float[sums.count];
      for (int m = 0; m < table.rows(); m++) {
        sums.read(m, values);
        out.addRow(values, m, (int) from, sums.count);
      }
    }

    private void block(int m, long from, int first, int count, Scales scales, Streaming.Sums sums) {
      int groups = table.groups();
      long stride = w.columns() / 2;
      MemorySegment x = table.row(memory, m);
      MemorySegment codes = w.codes().segment().asSlice((from + first) * stride);
      int whole = count / DotKernel.GROUP;
      NibbleKernel kernel = table.kernel();
      if (whole > 0) {
        MemorySegment to = sums.at(m, first);
        kernel.multiply(groups, whole, x, codes, stride, to, scales.scales, scales.zeros);
      }
      for (int n = whole * DotKernel.GROUP; n < count; n++) {
        // The same row four times: of the weight nothing is read that is not there.
        long at = (long) groups * n * Float.BYTES;
        MemorySegment row = codes.asSlice(n * stride);
        MemorySegment to = sums.at(m, first + n);
        MemorySegment scale = scales.scales.asSlice(at);
        kernel.multiply(groups, 1, x, row, 0, to, scale, scales.zeros.asSlice(at));
      }
    }
  }

  // Reused, because new ones are never in the cache.
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(1 << 14, 64));

  private static MemorySegment scratch(long size) {
    MemorySegment scratch = SCRATCH.get();
    if (scratch.byteSize() < size) {
      scratch = Arena.ofAuto().allocate(size, 64);
      SCRATCH.set(scratch);
    }
    return scratch;
  }

  /** The scales and zero points of some rows of a weight, spread over the groups of the kernel. */
  private static final class Scales {
    final MemorySegment scales;
    final MemorySegment zeros;

    private final PackedWeight w;
    private final int groups;
    private final WidenKernel widen;

    /** Room for the scales of so many rows; valid until a thread makes another. */
    Scales(PackedWeight w, int groups, WidenKernel widen, int rows) {
      this.w = w;
      this.groups = groups;
      this.widen = widen;
      long size = (long) groups * (rows + DotKernel.GROUP) * Float.BYTES;
      this.scales = scratch(2 * size);
      this.zeros = scales.asSlice(size);
    }

    /**
     * Reads those of some rows.
     *
     * @param units F32, for each row and group what its scale is multiplied by
     */
    void read(long row, int count, MemorySegment units) {
      int own = (int) w.groups();
      int total = count * own;
      DType type = w.scales().dtype();
      long first = w.scales().offset() + row * own;
      MemorySegment source = w.scales().storage().segment();
      int done = own == groups ? total / WidenKernel.BLOCK * WidenKernel.BLOCK : 0;
      if (done > 0) {
        MemorySegment from = source.asSlice(first * type.byteSize());
        widen.widen(done / WidenKernel.BLOCK, from, units, scales);
      }
      if (done < total) {
        float[] rest = new float[total - done];
        FloatRuns.read(type, source, first + done, rest.length, rest, 0);
        rest = spread(rest);
        for (int i = 0; i < rest.length; i++) {
          Element.f32(scales, done + i, rest[i] * Element.f32(units, done + i));
        }
      }
      if (w.zeros() != null) {
        float[] values = new float[total];
        MemorySegment bytes = w.zeros().segment();
        for (int i = 0; i < values.length; i++) {
          values[i] = Byte.toUnsignedInt(bytes.get(Element.BYTE, row * own + i));
        }
        values = spread(values);
        MemorySegment.copy(values, 0, zeros, Element.FLOAT, 0, values.length);
      }
    }

    private float[] spread(float[] values) {
      int parts = groups / (int) w.groups();
      float[] spread = parts == 1 ? values : new float[values.length * parts];
      for (int i = 0; parts > 1 && i < spread.length; i++) {
        spread[i] = values[i / parts];
      }
      return spread;
    }
  }
}
