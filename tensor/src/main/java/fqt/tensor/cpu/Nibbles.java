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
    NibbleTable table = new NibbleTable(kernel, rows, depth, blockRows(rows, depth / 2));
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

  /**
   * Rows of each of four streams that are multiplied at a time: a single row of x passes but once,
   * so that it takes more of them, whose scales still fit into the nearest cache.
   */
  private static int blockRows(int rows, long rowBytes) {
    int block = (rows == 1 ? 4 : 1) * Streaming.blockRows(rowBytes) / DotKernel.GROUP;
    return block < WidenKernel.BLOCK ? block : block / WidenKernel.BLOCK * WidenKernel.BLOCK;
  }

  /** What all ranges of one product share. */
  private record Call(NibbleTable table, MemorySegment memory, PackedWeight w, WidenKernel widen) {
    /** The sums of some rows of the weight: of four quarters of them at the same time. */
    void range(long from, long to, Result out) {
      Streaming.Sums sums = new Streaming.Sums(table.rows(), (int) (to - from));
      Scales scales = new Scales(w, table.groups(), widen, table.blockRows());
      int block = table.blockRows();
      int quarter = sums.count / DotKernel.GROUP;
      sums.quarter = quarter;
      for (int n = 0; n < quarter; n += block) {
        int count = Math.min(block, quarter - n);
        for (int m = 0; m < table.rows(); m++) {
          for (int stream = 0; stream < DotKernel.GROUP; stream++) {
            long row = from + (long) stream * quarter + n;
            scales.read(row, count, stream * count, table.units(memory, m));
          }
          multiply(m, from + n, quarter, count, scales, sums.at(m, DotKernel.GROUP * n));
        }
      }
      for (int n = DotKernel.GROUP * quarter; n < sums.count; n++) {
        // The same row four times: of the weight nothing is read that is not there.
        for (int m = 0; m < table.rows(); m++) {
          scales.read(from + n, 1, 0, table.units(memory, m));
          multiply(m, from + n, 0, 1, scales, sums.at(m, n));
        }
      }
      float[] values = new float[sums.count];
      for (int m = 0; m < table.rows(); m++) {
        sums.read(m, values);
        out.addRow(values, m, (int) from, sums.count);
      }
    }

    /** {@code distance} in rows: from a stream to the next, 0 for the same row four times. */
    private void multiply(
        int m, long row, int distance, int count, Scales scales, MemorySegment to) {
      long stride = w.columns() / 2;
      int groups = table.groups();
      table
          .kernel()
          .multiply(
              groups,
              count,
              table.row(memory, m),
              w.codes().segment().asSlice(row * stride),
              distance * stride,
              to,
              scales.scales,
              scales.zeros,
              distance == 0 ? 0 : (long) groups * count * Float.BYTES);
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

    /** Room for the scales of so many rows of four streams; valid until a thread makes another. */
    Scales(PackedWeight w, int groups, WidenKernel widen, int rows) {
      this.w = w;
      this.groups = groups;
      this.widen = widen;
      long size = (long) DotKernel.GROUP * groups * rows + WidenKernel.BLOCK;
      this.scales = scratch(2 * size * Float.BYTES);
      this.zeros = scales.asSlice(size * Float.BYTES);
    }

    /**
     * Reads those of some rows. Behind them up to seven more may be overwritten.
     *
     * @param at rows before them
     * @param units F32, for each row and group what its scale is multiplied by
     */
    void read(long row, int count, int at, MemorySegment units) {
      int own = (int) w.groups();
      int total = count * own;
      DType type = w.scales().dtype();
      long first = w.scales().offset() + row * own;
      MemorySegment source = w.scales().storage().segment();
      long to = (long) at * groups;
      int done = 0;
      if (own == groups) {
        long there = (w.rows() - row) * own / WidenKernel.BLOCK;
        long blocks = Math.min(Math.ceilDiv(total, WidenKernel.BLOCK), there);
        if (blocks > 0) {
          MemorySegment from = source.asSlice(first * type.byteSize());
          widen.widen(blocks, from, units, scales.asSlice(to * Float.BYTES));
        }
        done = (int) Math.min(total, blocks * WidenKernel.BLOCK);
      }
      if (done < total) {
        float[] rest = new float[total - done];
        FloatRuns.read(type, source, first + done, rest.length, rest, 0);
        rest = spread(rest);
        for (int i = 0; i < rest.length; i++) {
          Element.f32(scales, to + done + i, rest[i] * Element.f32(units, done + i));
        }
      }
      if (w.zeros() != null) {
        float[] values = new float[total];
        MemorySegment bytes = w.zeros().segment();
        for (int i = 0; i < values.length; i++) {
          values[i] = Byte.toUnsignedInt(bytes.get(Element.BYTE, row * own + i));
        }
        values = spread(values);
        MemorySegment.copy(values, 0, zeros, Element.FLOAT, to * Float.BYTES, values.length);
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
