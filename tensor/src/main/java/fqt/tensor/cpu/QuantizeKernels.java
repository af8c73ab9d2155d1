package fqt.tensor.cpu;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.MachineCodes.Ahead;
import fqt.tensor.cpu.asm.CodeKernel;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Quantization of a matrix by blocks. Rows go through the first-level cache in runs; the scale and
 * zero point of each element of a run are spread out beside it, so that one loop serves every shape
 * of block.
 */
final class QuantizeKernels {
  private static final int CAPACITY = Carrier.CAPACITY;

  /** Columns that share a scale from which on it pays to go from block to block. */
  private static final long LEAST_AT_ONCE = 16;

  private final Blocks blocks;
  private final long rows;
  private final long columns;
  private final MemorySegment scale;
  private final MemorySegment zero;

  private QuantizeKernels(Tensor x, Blocks blocks, Tensor scale, Tensor zero) {
    this.blocks = blocks;
    this.rows = x.dim(0);
    this.columns = x.dim(1);
    this.scale = scale.segment();
    this.zero = zero == null ? null : zero.segment();
  }

  /** What is done to one run: {@code n} elements from element {@code index} on. */
  private interface Step {
    void run(Run run, long index, int n);
  }

  static void quantize(
      Threads threads,
      RowKernels machine,
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      Tensor codes) {
    QuantizeKernels kernels = new QuantizeKernels(x, blocks, scale, zero);
    Threads.Range rows = kernels.quantizing(machine, x, low, high, codes, Ahead.NEAR);
    threads.forEach(kernels.rows, Pointwise.rowsAtOnce(kernels.columns), rows);
  }

  /**
   * Rows are quantized as soon as their largest magnitudes are known, while they are in the cache.
   */
  static void quantizeRows(
      Threads threads, RowKernels machine, Tensor x, Tensor codes, Tensor scale) {
    QuantizeKernels kernels = new QuantizeKernels(x, Blocks.PER_ROW, scale, null);
    float high = ScalarQuantize.largestCode(codes.dtype());
    float low = codes.dtype() == DType.I8 ? Byte.MIN_VALUE : -high;
    Threads.Range quantizing = kernels.quantizing(machine, x, low, high, codes, Ahead.HALF_A_ROW);
    MemorySegment from = x.segment();
    int columns = Math.toIntExact(kernels.columns);
    threads.forEach(
        kernels.rows,
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          for (long m = first; m < end; m++) {
            long offset = m * columns * Float.BYTES;
            RowLoops.Range range =
                machine == null
                    ? RowLoops.range(from, offset, columns)
                    : MachineRows.range(machine.range(), from, offset, columns);
            float largest = Math.max(-range.min(), range.max());
            Element.f32(kernels.scale, m, ScalarQuantize.scaleOf(largest, high));
            quantizing.run(m, m + 1);
          }
        });
  }

  /** Quantizes rows. */
  private Threads.Range quantizing(
      RowKernels machine, Tensor x, float low, float high, Tensor codes, Ahead ahead) {
    MemorySegment from = x.segment();
    MemorySegment to = codes.segment();
    if (hasWideBlocks() && ByteCodes.serves(codes.dtype(), low, high, zero)) {
      ByteCodes bytes = new ByteCodes(from, to, codes.dtype(), low, high);
      MachineCodes code = machineCodes(machine, codes);
      return code == null
          ? blockByBlock(bytes::quantize)
          : rowByRow(code.quantizing(bytes, from, to, ahead));
    }
    MachineFloat8 float8 = MachineFloat8.between(machine, DType.F32, codes.dtype());
    if (hasWideBlocks() && float8 != null && float8.hasRange(low, high)) {
      return blockByBlock((index, n, s, z) -> float8.quantize(from, index, n, s, to, ahead));
    }
    return runByRun(
        (run, index, n) -> {
          run.carrier.readFloats(from, DType.F32, index, n);
          run.encode(codes.dtype(), low, high, n);
          run.carrier.writeFloatsAs(to, codes.dtype(), index, n);
        });
  }

  /** What is done to a part of a row that shares a scale and a zero point. */
  private interface BlockStep {
    void run(long index, int n, float scale, float zero);
  }

  private boolean hasWideBlocks() {
    return blocks.columnsOf(columns) >= LEAST_AT_ONCE;
  }

  /** Machine code for codes of that type, if the blocks suit it, or null. */
  private MachineCodes machineCodes(RowKernels machine, Tensor codes) {
    long size = blocks.columnsOf(columns);
    boolean suits = machine != null && columns % size == 0 && size % CodeKernel.BLOCK == 0;
    return suits
        ? new MachineCodes(machine.codes(codes.dtype() == DType.I8), size, scale, zero)
        : null;
  }

  private Threads.Range rowByRow(MachineCodes.RowStep step) {
    long wide = columns / blocks.columnsOf(columns);
    return (first, end) -> {
      for (long m = first; m < end; m++) {
        step.run(m * columns, wide, m / blocks.rowsOf(rows) * wide);
      }
    };
  }

  private Threads.Range blockByBlock(BlockStep step) {
    long size = blocks.columnsOf(columns);
    long wide = Math.ceilDiv(columns, size);
    return (first, end) -> {
      for (long m = first; m < end; m++) {
        for (long b = 0; b < wide; b++) {
          long block = m / blocks.rowsOf(rows) * wide + b;
          int n = (int) Math.min(size, columns - b * size);
          float offset = zero == null ? 0 : Element.f32(zero, block);
          step.run(m * columns + b * size, n, Element.f32(scale, block), offset);
        }
      }
    };
  }

  static void dequantize(
      Threads threads,
      RowKernels machine,
      Tensor codes,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      Tensor out) {
    MemorySegment from = codes.segment();
    MemorySegment to = out.segment();
    QuantizeKernels kernels = new QuantizeKernels(codes, blocks, scale, zero);
    boolean bytes = codes.dtype() == DType.I8 || codes.dtype() == DType.U8;
    if (kernels.hasWideBlocks() && bytes && out.dtype() == DType.F32) {
      MachineCodes code = kernels.machineCodes(machine, codes);
      if (code != null) {
        threads.forEach(
            kernels.rows,
            Pointwise.rowsAtOnce(kernels.columns),
            kernels.rowByRow(code.dequantizing(from, to)));
        return;
      }
      int mask = codes.dtype() == DType.U8 ? 0xff : -1;
      threads.forEach(
          kernels.rows,
          Pointwise.rowsAtOnce(kernels.columns),
          kernels.blockByBlock(
              (index, n, s, z) -> ByteCodes.dequantize(from, mask, index, n, s, z, to)));
      return;
    }
    kernels.forEachRun(
        threads,
        (run, index, n) -> {
          run.carrier.readFloats(from, codes.dtype(), index, n);
          run.decode(n);
          run.carrier.writeFloats(to, out.dtype(), index, n);
        });
  }

  static void fakeQuantize(
      Threads threads,
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    new QuantizeKernels(x, blocks, scale, zero)
        .forEachRun(
            threads,
            (run, index, n) -> {
              run.carrier.readFloats(from, DType.F32, index, n);
              run.pass(codes, low, high, n);
              run.carrier.writeFloats(to, DType.F32, index, n);
            });
  }

  /** A row of blocks is one thread's, so that each sum is made in one order. */
  static void quantizationError(
      Threads threads,
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    QuantizeKernels kernels = new QuantizeKernels(x, blocks, scale, zero);
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    int wide = Math.toIntExact(out.dim(1));
    long height = blocks.rowsOf(kernels.rows);
    long grain = Math.max(1, Pointwise.rowsAtOnce(kernels.columns) / height);
    threads.forEach(
        out.dim(0),
        grain,
        (first, end) -> {
          Run run = new Run();
          for (long row = first; row < end; row++) {
            double[] sums = new double[wide];
            long bottom = Math.min(kernels.rows, (row + 1) * height);
            kernels.forRows(
                run,
                row * height,
                bottom,
                (same, index, n) -> {
                  same.carrier.readFloats(from, DType.F32, index, n);
                  System.arraycopy(same.carrier.floats, 0, same.values, 0, n);
                  same.pass(codes, low, high, n);
                  kernels.addErrors(same, index % kernels.columns, n, sums);
                });
            for (int b = 0; b < wide; b++) {
              Element.f32(to, row * wide + b, (float) sums[b]);
            }
          }
        });
  }

  private void addErrors(Run run, long start, int n, double[] sums) {
    long size = blocks.columnsOf(columns);
    int i = 0;
    while (i < n) {
      int block = (int) ((start + i) / size);
      int end = (int) Math.min(n, (block + 1) * size - start);
      sums[block] += RowLoops.squaredDistance(run.carrier.floats, run.values, i, end);
      i = end;
    }
  }

  private Threads.Range runByRun(Step step) {
    return (first, end) -> forRows(new Run(), first, end, step);
  }

  private void forEachRun(Threads threads, Step step) {
    threads.forEach(rows, Pointwise.rowsAtOnce(columns), runByRun(step));
  }

  private void forRows(Run run, long first, long end, Step step) {
    for (long start = 0; start < columns; start += CAPACITY) {
      int n = (int) Math.min(CAPACITY, columns - start);
      long spread = -1;
      for (long m = first; m < end; m++) {
        long row = m / blocks.rowsOf(rows);
        if (row != spread) {
          spread(scale, row, start, run.scales, n);
          if (zero != null) {
            spread(zero, row, start, run.zeros, n);
          }
          spread = row;
        }
        step.run(run, m * columns + start, n);
      }
    }
  }

  /** Writes what the blocks of a row hold, once for each column from {@code start} on. */
  private void spread(MemorySegment perBlock, long row, long start, float[] perColumn, int n) {
    long size = blocks.columnsOf(columns);
    long first = row * Math.ceilDiv(columns, size);
    if (size == 1) {
      MemorySegment.copy(perBlock, Element.FLOAT, (first + start) * Float.BYTES, perColumn, 0, n);
      return;
    }
    int i = 0;
    while (i < n) {
      long block = (start + i) / size;
      int end = (int) Math.min(n, (block + 1) * size - start);
      Arrays.fill(perColumn, i, end, Element.f32(perBlock, first + block));
      i = end;
    }
  }

  /** A run of elements with the scale and zero point of each. */
  private static final class Run {
    final Carrier carrier = new Carrier();
    final float[] scales = new float[CAPACITY];
    final float[] zeros = new float[CAPACITY];
    final float[] values = new float[CAPACITY];

    /** Values to codes and back. */
    void pass(DType codes, float low, float high, int n) {
      encode(codes, low, high, n);
      if (codes.isFloat()) {
        carrier.encode(codes, n);
        carrier.decode(codes, n);
      }
      decode(n);
    }

    /** Values to codes, still as F32: whole, or ready to be rounded to an F8 type. */
    void encode(DType codes, float low, float high, int n) {
      if (codes.isFloat()) {
        divide(carrier.floats, scales, low, high, n);
      } else {
        round(carrier.floats, scales, zeros, low, high, n);
      }
    }

    void decode(int n) {
      float[] values = carrier.floats;
      for (int i = 0; i < n; i += Lanes.LENGTH) {
        FloatVector code = FloatVector.fromArray(Lanes.F, values, i);
        code.sub(FloatVector.fromArray(Lanes.F, zeros, i))
            .mul(FloatVector.fromArray(Lanes.F, scales, i))
            .intoArray(values, i);
      }
    }

    private static void divide(float[] values, float[] scales, float low, float high, int n) {
      for (int i = 0; i < n; i += Lanes.LENGTH) {
        FloatVector value = FloatVector.fromArray(Lanes.F, values, i);
        value
            .div(FloatVector.fromArray(Lanes.F, scales, i))
            .max(low)
            .min(high)
            .intoArray(values, i);
      }
    }

    private static void round(
        float[] values, float[] scales, float[] zeros, float low, float high, int n) {
      for (int i = 0; i < n; i += Lanes.LENGTH) {
        FloatVector ratio =
            FloatVector.fromArray(Lanes.F, values, i)
                .div(FloatVector.fromArray(Lanes.F, scales, i));
        FloatVector whole = Lanes.rint(ratio).blend(0f, ratio.compare(VectorOperators.NE, ratio));
        whole.add(FloatVector.fromArray(Lanes.F, zeros, i)).max(low).min(high).intoArray(values, i);
      }
    }
  }
}
