package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.NibbleKernel;
import fqt.tensor.cpu.asm.WidenKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Products of a few rows with a weight of 4-bit codes, by {@link NibbleKernel}, which multiplies
 * codes as integers. Each group of x becomes whole numbers of at most 22 bits and a sign, times a
 * power of two: rounding it costs at most 2⁻²³ of the largest number of the group, no more than
 * adding the group up in F32 does.
 */
final class Nibbles {
  /** Bits of a whole number without its sign. */
  private static final int PRECISION = 22;

  /** Groups whose largest number is below 2^{@value} count as that large: scales stay normal. */
  private static final int LEAST_EXPONENT = -100;

  /** Added to a number below 2^22, this leaves its nearest integer in the lowest bits. */
  private static final float WHOLE = 0x1.8p23f;

  private final Threads threads;
  private final DotKernels kernels;
  private final Streaming memory;

  Nibbles(Threads threads, DotKernels kernels, Streaming memory) {
    this.threads = threads;
    this.kernels = kernels;
    this.memory = memory;
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
    int rows = (int) x.outer();
    int depth = Math.toIntExact(x.inner());
    NibbleKernel kernel =
        kernels.nibbles(DotKernels.nibbleGroup(w.groupSize(), depth), w.zeros() != null);
    int group = kernel.vectors() * kernel.vectorBytes() * 2;
    int groups = depth / group;
    long stride = (long) groups * kernel.tableBytes();
    MemorySegment tables = memory.take(rows * stride);
    float[] line = new float[depth];
    boolean finite = true;
    for (int m = 0; m < rows && finite; m++) {
      x.readInner(m, 0, depth, line, 0);
      finite = tabulate(kernel, group, line, tables.asSlice(m * stride, stride));
    }
    if (finite) {
      Scales scales = new Scales(w, groups, kernels.widen());
      Call call = new Call(kernel, groups, tables, stride, rows, w.codes().segment(), depth / 2);
      threads.forEach(
          w.rows(),
          Streaming.grain(depth / 2, w.rows()),
          (from, to) -> {
            Streaming.Sums sums = new Streaming.Sums(rows, (int) (to - from));
            call.range(scales, from, sums);
            float[] values = new float[sums.count];
            for (int m = 0; m < rows; m++) {
              MemorySegment.copy(
                  sums.memory, Element.FLOAT, m * sums.stride, values, 0, sums.count);
              out.addRow(values, m, (int) from, sums.count);
            }
          });
    }
    memory.give(tables);
    return finite;
  }

  /** What all ranges of one product share; {@code rowBytes} are those of a row of codes. */
  private record Call(
      NibbleKernel kernel,
      int groups,
      MemorySegment tables,
      long tableStride,
      int rows,
      MemorySegment codes,
      long rowBytes) {
    /** The sums of the rows of the weight from one on. */
    void range(Scales scales, long from, Streaming.Sums sums) {
      int block = Streaming.blockRows(rowBytes);
      long size = (long) groups * (block + DotKernel.GROUP) * Float.BYTES;
      MemorySegment scratch = scratch(2 * size);
      MemorySegment zeros = scratch.asSlice(size);
      for (int n = 0; n < sums.count; n += block) {
        int count = Math.min(block, sums.count - n);
        scales.read(from + n, count, scratch, zeros);
        for (int m = 0; m < rows; m++) {
          block(m, from, n, count, scratch, zeros, sums);
        }
      }
    }

    private void block(
        int m,
        long from,
        int first,
        int count,
        MemorySegment scales,
        MemorySegment zeros,
        Streaming.Sums sums) {
      MemorySegment table = tables.asSlice(m * tableStride);
      MemorySegment w = codes.asSlice((from + first) * rowBytes);
      int whole = count / DotKernel.GROUP;
      if (whole > 0) {
        kernel.multiply(groups, whole, table, w, rowBytes, sums.at(m, first), scales, zeros);
      }
      for (int n = whole * DotKernel.GROUP; n < count; n++) {
        // The same row four times: of the weight nothing is read that is not there.
        long at = (long) groups * n * Float.BYTES;
        MemorySegment row = w.asSlice(n * rowBytes);
        MemorySegment to = sums.at(m, first + n);
        kernel.multiply(groups, 1, table, row, 0, to, scales.asSlice(at), zeros.asSlice(at));
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

  /** The scales and zero points of a weight, spread over the groups of the kernel. */
  private record Scales(PackedWeight w, int groups, WidenKernel widen) {
    /** Those of some rows. */
    void read(long row, int count, MemorySegment scales, MemorySegment zeros) {
      int own = (int) w.groups();
      int total = count * own;
      long first = w.scales().offset() + row * own;
      MemorySegment source = w.scales().storage().segment();
      int done = 0;
      if (w.scales().dtype() == DType.F16 && own == groups && total >= WidenKernel.BLOCK) {
        done = total / WidenKernel.BLOCK * WidenKernel.BLOCK;
        widen.widen(done / WidenKernel.BLOCK, source.asSlice(first * Short.BYTES), scales);
      }
      float[] rest = new float[total - done];
      FloatRuns.read(w.scales().dtype(), source, first + done, rest.length, rest, 0);
      write(rest, scales.asSlice((long) done * Float.BYTES));
      if (w.zeros() != null) {
        float[] values = new float[total];
        MemorySegment bytes = w.zeros().segment();
        for (int i = 0; i < values.length; i++) {
          values[i] = Byte.toUnsignedInt(bytes.get(Element.BYTE, row * own + i));
        }
        write(values, zeros);
      }
    }

    private void write(float[] values, MemorySegment to) {
      int parts = groups / (int) w.groups();
      float[] spread = parts == 1 ? values : new float[values.length * parts];
      for (int i = 0; parts > 1 && i < spread.length; i++) {
        spread[i] = values[i / parts];
      }
      MemorySegment.copy(spread, 0, to, Element.FLOAT, 0, spread.length);
    }
  }

  /**
   * Fills in the table of one row of x.
   *
   * @return whether all numbers are finite
   */
  private static boolean tabulate(NibbleKernel kernel, int group, float[] x, MemorySegment table) {
    int[] whole = new int[group];
    byte[] digits = new byte[2 * NibbleKernel.DIGITS * kernel.vectors() * kernel.vectorBytes()];
    float[] ends = new float[4 * kernel.vectorBytes() / Float.BYTES];
    for (int g = 0; g < x.length / group; g++) {
      float largest = largest(x, g * group, group);
      if (!(largest < Float.POSITIVE_INFINITY)) {
        return false;
      }
      int exponent = Math.max(LEAST_EXPONENT, Math.getExponent(largest) + 1);
      round(x, g * group, scalb(PRECISION - exponent), whole);
      digits(whole, kernel.vectorBytes(), digits);
      float unit = scalb(exponent - PRECISION);
      ends(whole, kernel.vectorBytes(), unit, ends);
      long at = (long) g * kernel.tableBytes();
      MemorySegment.copy(digits, 0, table, ValueLayout.JAVA_BYTE, at, digits.length);
      MemorySegment.copy(ends, 0, table, Element.FLOAT, at + digits.length, ends.length);
    }
    return true;
  }

  /** The largest magnitude; NaN if there is one. */
  private static float largest(float[] x, int from, int count) {
    FloatVector largest = FloatVector.zero(Lanes.F);
    for (int i = 0; i < count; i += Lanes.LENGTH) {
      largest = largest.max(FloatVector.fromArray(Lanes.F, x, from + i).abs());
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  /** The whole numbers nearest to {@code x * up}. */
  private static void round(float[] x, int from, float up, int[] whole) {
    for (int i = 0; i < whole.length; i += Lanes.LENGTH) {
      FloatVector sum = FloatVector.fromArray(Lanes.F, x, from + i).mul(up).add(WHOLE);
      sum.reinterpretAsInts().sub(Float.floatToRawIntBits(WHOLE)).intoArray(whole, i);
    }
  }

  /** A power of two from 2^-126 to 2^127. */
  private static float scalb(int exponent) {
    return Float.intBitsToFloat(exponent + 127 << 23);
  }

  /** The signed bytes of whole numbers, where the kernel wants them. */
  private static void digits(int[] whole, int vectorBytes, byte[] to) {
    int at = 0;
    for (int first = 0; first < whole.length; first += 2 * vectorBytes) {
      for (int odd = 0; odd < 2; odd++) {
        for (int lane = 0; lane < vectorBytes; lane++) {
          int number = whole[first + 2 * lane + odd];
          int low = (byte) number;
          int rest = number - low >> 8;
          int middle = (byte) rest;
          to[at + lane] = (byte) (rest - middle >> 8);
          to[at + lane + 2 * vectorBytes] = (byte) middle;
          to[at + lane + 4 * vectorBytes] = (byte) low;
        }
        at += vectorBytes;
      }
      at += 2 * (NibbleKernel.DIGITS - 1) * vectorBytes;
    }
  }

  /**
   * The sums of the numbers whose codes share an i32 lane, the unit, 256 times the unit, 8 times
   * the sums.
   */
  private static void ends(int[] whole, int vectorBytes, float unit, float[] to) {
    int lanes = vectorBytes / Integer.BYTES;
    for (int lane = 0; lane < lanes; lane++) {
      int sum = 0;
      for (int i = lane * 8; i < whole.length; i += 2 * vectorBytes) {
        for (int j = 0; j < 8; j++) {
          sum += whole[i + j];
        }
      }
      to[lane] = sum * unit;
      to[lane + lanes] = unit;
      to[lane + 2 * lanes] = 256 * unit;
      to[lane + 3 * lanes] = 8 * to[lane];
    }
  }
}
