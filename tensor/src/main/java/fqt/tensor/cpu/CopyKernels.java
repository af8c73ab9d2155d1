package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;

/**
 * Copies, conversions and fills of any strides. Where both tensors run on together, whole runs are
 * copied or converted; where the source runs along another dimension than the target, as in a
 * transpose, squares of {@link #TILE} by TILE elements are turned in the cache.
 */
final class CopyKernels {
  private static final int TILE = 64;
  private static final long GRAIN = 1 << 16;

  private final MemorySegment from;
  private final DType source;
  private final long fromOffset;
  private final MemorySegment to;
  private final DType target;
  private final long toOffset;
  private final CopyPlan plan;
  private final MachineCopies.Run machine;

  private CopyKernels(RowKernels machine, Tensor from, Tensor to) {
    // Elements of one type are moved as bits: through F32 a NaN would lose its payload.
    boolean same = from.dtype() == to.dtype();
    this.source = same ? bits(from.dtype()) : from.dtype();
    this.target = same ? bits(to.dtype()) : to.dtype();
    this.from = from.storage().segment();
    this.to = to.storage().segment();
    this.fromOffset = from.offset();
    this.toOffset = to.offset();
    this.plan = CopyPlan.of(from, to);
    this.machine = MachineCopies.between(machine, source, target, to.count());
  }

  static void copy(Threads threads, RowKernels machine, Tensor from, Tensor to) {
    if (from.count() == 0) {
      return;
    }
    CopyKernels kernels = new CopyKernels(machine, from, to);
    CopyPlan.Axis inner = kernels.plan.inner();
    int run = kernels.plan.sourceRun();
    if (inner.from() == 1 && inner.to() == 1 || run < 0 || inner.to() != 1) {
      kernels.copyRuns(threads);
    } else {
      kernels.copyTiles(threads, run);
    }
  }

  private static DType bits(DType dtype) {
    return switch (dtype) {
      case F32, I32 -> DType.I32;
      case F16, BF16, I16 -> DType.I16;
      case F8_E4M3, F8_E5M2, I8, U8, BOOL -> DType.I8;
      case I64 -> DType.I64;
    };
  }

  private void copyRuns(Threads threads) {
    int last = plan.axes().size() - 1;
    int[] outer = IntStream.range(0, Math.max(0, last)).toArray();
    CopyPlan.Axis inner = plan.inner();
    long pieces = Math.ceilDiv(inner.size(), GRAIN);
    long runs = count(outer);
    threads.forEach(
        runs * pieces,
        Math.max(1, GRAIN / inner.size()),
        (first, end) -> {
          Carrier carrier = new Carrier();
          for (long i = first; i < end; i++) {
            long start = i % pieces * GRAIN;
            long a = fromOffset + plan.position(outer, i / pieces, true) + start * inner.from();
            long b = toOffset + plan.position(outer, i / pieces, false) + start * inner.to();
            copyRun(carrier, a, b, Math.min(GRAIN, inner.size() - start), inner);
          }
        });
  }

  private void copyRun(Carrier carrier, long a, long b, long n, CopyPlan.Axis inner) {
    boolean together = inner.from() == 1 && inner.to() == 1;
    long begun = machine == null || !together ? 0 : machine.copy(from, a, to, b, n);
    if (together && source == target) {
      long size = source.byteSize();
      MemorySegment.copy(from, (a + begun) * size, to, (b + begun) * size, (n - begun) * size);
    } else if (together && source != DType.I64 && target != DType.I64) {
      for (long i = begun; i < n; i += Carrier.CAPACITY) {
        int length = (int) Math.min(Carrier.CAPACITY, n - i);
        carrier.convert(from, source, a + i, to, target, b + i, length);
      }
    } else {
      for (long i = 0; i < n; i++) {
        copyElement(a + i * inner.from(), b + i * inner.to());
      }
    }
  }

  /** I64 and elements that are neighbours in neither tensor: memory is the limit, not the loop. */
  private void copyElement(long a, long b) {
    if (source.isFloat()) {
      Element.setFloat(to, target, b, Element.getFloat(from, source, a));
    } else {
      Element.setLong(to, target, b, Element.getLong(from, source, a));
    }
  }

  private void copyTiles(Threads threads, int run) {
    int last = plan.axes().size() - 1;
    int[] outer = IntStream.range(0, last).filter(i -> i != run).toArray();
    CopyPlan.Axis along = plan.axes().get(run);
    CopyPlan.Axis inner = plan.inner();
    long high = Math.ceilDiv(along.size(), TILE);
    long wide = Math.ceilDiv(inner.size(), TILE);
    threads.forEach(
        count(outer) * high * wide,
        GRAIN / (TILE * TILE),
        (first, end) -> {
          Turner turner = new Turner();
          for (long i = first; i < end; i++) {
            long tile = i / (high * wide);
            long row = i / wide % high * TILE;
            long column = i % wide * TILE;
            long a = fromOffset + plan.position(outer, tile, true) + row + column * inner.from();
            long b = toOffset + plan.position(outer, tile, false) + row * along.to() + column;
            int rows = (int) Math.min(TILE, along.size() - row);
            int columns = (int) Math.min(TILE, inner.size() - column);
            turner.turn(a, inner.from(), b, along.to(), rows, columns);
          }
        });
  }

  private long count(int[] outer) {
    long count = 1;
    for (int axis : outer) {
      count *= plan.axes().get(axis).size();
    }
    return count;
  }

  /** Turns one tile: reads runs of the source, writes runs of the target. */
  private final class Turner {
    private final Carrier carrier = new Carrier();
    private final int[] ints = new int[TILE * TILE];
    private final float[] lines = new float[TILE * TILE];
    private final float[] floats = new float[TILE * TILE];

    void turn(long a, long fromStep, long b, long toStep, int rows, int columns) {
      if (source == DType.I64 || target == DType.I64) {
        turnElements(a, fromStep, b, toStep, rows, columns);
      } else if (source.isFloat()) {
        turnFloats(a, fromStep, b, toStep, rows, columns);
      } else {
        turnInts(a, fromStep, b, toStep, rows, columns);
      }
    }

    private void turnElements(long a, long fromStep, long b, long toStep, int rows, int columns) {
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          copyElement(a + i + j * fromStep, b + i * toStep + j);
        }
      }
    }

    private void turnFloats(long a, long fromStep, long b, long toStep, int rows, int columns) {
      for (int j = 0; j < columns; j++) {
        carrier.readFloats(from, source, a + j * fromStep, rows);
        System.arraycopy(carrier.floats, 0, lines, j * TILE, rows);
      }
      Transpose.copy(lines, 0, TILE, /* rows= */ columns, /* columns= */ rows, floats, 0, TILE);
      for (int i = 0; i < rows; i++) {
        System.arraycopy(floats, i * TILE, carrier.floats, 0, columns);
        carrier.writeFloatsAs(to, target, b + i * toStep, columns);
      }
    }

    private void turnInts(long a, long fromStep, long b, long toStep, int rows, int columns) {
      for (int j = 0; j < columns; j++) {
        carrier.readInts(from, source, a + j * fromStep, rows);
        for (int i = 0; i < rows; i++) {
          ints[i * TILE + j] = carrier.ints[i];
        }
      }
      for (int i = 0; i < rows; i++) {
        System.arraycopy(ints, i * TILE, carrier.ints, 0, columns);
        carrier.writeIntsAs(to, target, b + i * toStep, columns);
      }
    }
  }

  static void fill(Threads threads, Tensor target, double value) {
    CopyPlan plan = CopyPlan.of(target, target);
    CopyPlan.Axis inner = plan.inner();
    if (target.count() == 0) {
      return;
    }
    int[] outer = IntStream.range(0, Math.max(0, plan.axes().size() - 1)).toArray();
    MemorySegment to = target.storage().segment();
    MemorySegment pattern = pattern(target.dtype(), value);
    int size = target.dtype().byteSize();
    long runs = target.count() / inner.size();
    long pieces = Math.ceilDiv(inner.size(), GRAIN);
    threads.forEach(
        runs * pieces,
        Math.max(1, GRAIN / inner.size()),
        (first, end) -> {
          for (long i = first; i < end; i++) {
            long start = i % pieces * GRAIN;
            long at = target.offset() + plan.position(outer, i / pieces, false);
            long n = Math.min(GRAIN, inner.size() - start);
            fillRun(to, at + start * inner.to(), inner.to(), n, pattern, size);
          }
        });
  }

  private static void fillRun(
      MemorySegment to, long at, long step, long n, MemorySegment pattern, int size) {
    long capacity = step == 1 ? pattern.byteSize() / size : 1;
    for (long i = 0; i < n; i += capacity) {
      long bytes = Math.min(capacity, n - i) * size;
      MemorySegment.copy(pattern, 0, to, (at + i * step) * size, bytes);
    }
  }

  private static MemorySegment pattern(DType dtype, double value) {
    MemorySegment pattern = MemorySegment.ofArray(new byte[Carrier.CAPACITY * dtype.byteSize()]);
    for (int i = 0; i < Carrier.CAPACITY; i++) {
      if (dtype.isFloat()) {
        Element.setFloat(pattern, dtype, i, (float) value);
      } else {
        Element.setLong(pattern, dtype, i, ScalarCopy.toLong(value, dtype));
      }
    }
    return pattern;
  }
}
