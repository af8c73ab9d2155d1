package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.DotKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Products of a few rows with a weight of 4-bit or 8-bit codes, which are multiplied as integers:
 * {@link WholeNumbers} says how precise x stays. The sum of a row of the weight is the same bits
 * wherever ranges of rows begin and end.
 */
final class PackedProducts {
  /** Bytes of codes in a range that is worth waking a thread for. */
  private static final long LEAST_RANGE = 1 << 15;

  /** Ranges for each thread, so that one which is held up leaves work to the others. */
  private static final long RANGES = 4;

  private final Threads threads;
  private final DotKernels kernels;
  private final Scratch scratch = new Scratch();

  PackedProducts(Threads threads, DotKernels kernels) {
    this.threads = threads;
    this.kernels = kernels;
  }

  /** Whether {@link #multiply} can multiply these. */
  static boolean serves(Operand x, PackedWeight w) {
    return x.outer() <= Streaming.MOST_ROWS
        && (w.bits() == 4 || w.bits() == 8)
        && w.groupIndex() == null
        && DotKernels.codeGroup(w.groupSize(), w.columns()) > 0;
  }

  /**
   * {@code out = x wᵀ + bias}.
   *
   * @return whether x is finite everywhere; if not, nothing was done
   */
  boolean multiply(Operand.Strided x, PackedWeight w, Result out) {
    CodeKernels codes = kernels.codes(w, x.type() == DType.F32 ? 3 : 2);
    int rows = (int) x.outer();
    int group = codes.layout().group();
    int groups = Math.toIntExact(Math.ceilDiv(x.inner(), group));
    MemorySegment memory = scratch.take(WholeNumbers.bytes(codes.layout(), rows, groups));
    WholeNumbers numbers = new WholeNumbers(codes.layout(), rows, groups, memory);
    Operand.Strided readable = readable(x, groups * group);
    try {
      boolean finite = numbers.fill(codes, readable);
      if (finite) {
        Call call = new Call(codes, numbers, w, out);
        threads.forEach(w.rows(), grain(call), call::range);
      }
      return finite;
    } finally {
      // The kernels know addresses only.
      Reference.reachabilityFence(readable);
      Reference.reachabilityFence(w);
      Reference.reachabilityFence(out);
      scratch.give(memory);
    }
  }

  /** The same numbers as the kernels read them: whole groups, zeros behind the last. */
  private static Operand.Strided readable(Operand.Strided x, int padded) {
    boolean isReadable = x.innerStride() == 1 && CodeKernels.reads(x.type());
    if (isReadable && x.inner() == padded) {
      return x;
    }
    int depth = Math.toIntExact(x.inner());
    DType type = isReadable ? x.type() : DType.F32;
    long bytes = type.byteSize();
    MemorySegment copy = Arena.ofAuto().allocate(x.outer() * padded * bytes, Float.BYTES);
    float[] line = new float[isReadable ? 0 : depth];
    for (long m = 0; m < x.outer(); m++) {
      if (isReadable) {
        long from = (x.offset() + m * x.outerStride()) * bytes;
        MemorySegment.copy(x.bytes(), from, copy, m * padded * bytes, depth * bytes);
      } else {
        x.readInner(m, 0, depth, line, 0);
        FloatRuns.write(line, 0, depth, copy, m * padded);
      }
    }
    return new Operand.Strided(type, copy, 0, x.outer(), padded, padded, 1);
  }

  /** Rows of the weight in a range: whole groups of streams, all of them for a single thread. */
  private long grain(Call call) {
    long rows = call.w.rows();
    if (threads.count() == 1) {
      return rows;
    }
    long least = LEAST_RANGE / (call.rowBytes() * call.x.rows());
    long grain = Math.max(least, Math.ceilDiv(rows, RANGES * threads.count()));
    return Math.ceilDiv(Math.max(1, grain), DotKernel.GROUP) * DotKernel.GROUP;
  }

  /** What all ranges of one product share. */
  private record Call(CodeKernels kernels, WholeNumbers x, PackedWeight w, Result out) {
    long rowBytes() {
      return PackedWeight.wordsPerRow(w.columns(), w.bits()) * Integer.BYTES;
    }

    /** Bytes that the kernel reads of a row, and behind it. */
    long readBytes() {
      return (long) x.groups() * kernels.layout().codeBytes();
    }

    /** How many rows have enough behind them. */
    long readableRows() {
      return w.rows() - Math.ceilDiv(readBytes() - rowBytes(), rowBytes());
    }

    /**
     * Rows of each of four streams that are multiplied at a time: a single row of x passes but
     * once, so that it takes more of them, whose scales still fit into the nearest cache.
     */
    int blockRows() {
      return (x.rows() == 1 ? 4 : 1) * Streaming.blockRows(rowBytes()) / DotKernel.GROUP;
    }

    /** The sums of some rows of the weight: of four quarters of them at the same time. */
    void range(long from, long to) {
      int count = (int) (to - from);
      int quarter = Math.clamp(readableRows() - from, 0, count) / DotKernel.GROUP;
      int block = Math.max(1, Math.min(quarter, blockRows()));
      CodeRecords records = new CodeRecords(kernels, w, x, DotKernel.GROUP * block);
      try {
        for (int n = 0; n < quarter; n += block) {
          block(from + n, quarter, Math.min(block, quarter - n), records);
        }
        for (long row = from + DotKernel.GROUP * (long) quarter; row < to; row++) {
          single(row, records);
        }
      } finally {
        Reference.reachabilityFence(records);
      }
      for (int m = 0; m < x.rows(); m++) {
        out.addBias(m, (int) from, count);
      }
    }

    private void block(long row, int quarter, int count, CodeRecords records) {
      for (int m = 0; m < x.rows(); m++) {
        for (int stream = 0; stream < DotKernel.GROUP; stream++) {
          records.read(row + (long) stream * quarter, count, stream * count, m);
        }
        multiply(m, row, codes(row), quarter, count, records);
      }
    }

    /** The same row four times, or a copy: of the weight nothing is read that is not there. */
    private void single(long row, CodeRecords records) {
      long codes = row < readableRows() ? codes(row) : records.copy(row, rowBytes());
      for (int m = 0; m < x.rows(); m++) {
        records.read(row, 1, 0, m);
        multiply(m, row, codes, 0, 1, records);
      }
    }

    /** The address of the codes of a row. */
    private long codes(long row) {
      Tensor codes = w.codes();
      long first = codes.storage().segment().address() + codes.offset() * Integer.BYTES;
      return first + row * rowBytes();
    }

    /** {@code distance} in rows: from a stream to the next, 0 for the same row four times. */
    private void multiply(
        int m, long row, long codes, int distance, int count, CodeRecords records) {
      long stride = rowBytes();
      kernels
          .dots()
          .multiply(
              x.groups(),
              count,
              x.table(m),
              codes,
              distance * stride,
              stride,
              out.at(m, row),
              (long) distance * Float.BYTES,
              records.address(),
              distance == 0 ? 0 : count * records.recordBytes());
    }
  }
}
