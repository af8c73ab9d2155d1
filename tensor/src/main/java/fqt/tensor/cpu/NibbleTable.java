package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.NibbleKernel;
import fqt.tensor.cpu.asm.WidenKernel;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Rows of x as {@link NibbleKernel} wants them. Each group becomes whole numbers times a power of
 * two, so that rounding x costs little beside what it has been rounded to already or what adding up
 * costs:
 *
 * <ul>
 *   <li>F32: 22 bits and a sign, in error by at most 2⁻²² of the largest number of the group;
 *   <li>BF16 and F16: 15 bits and a sign, in error by at most 1.01 · 2⁻¹⁵ of it. The type itself
 *       rounds that number by up to 2⁻⁹ or 2⁻¹², so the product loses an eighth of that at most.
 * </ul>
 *
 * Behind the table of a row stands for each group the unit of its numbers, as often as a block of
 * the weight has rows, and room for a few more.
 *
 * @param rows rows of x
 * @param depth terms of a row
 * @param blockRows rows of the weight that are multiplied at a time
 */
record NibbleTable(NibbleKernel kernel, int rows, int depth, int blockRows) {
  /** Bits of a whole number without its sign: of three bytes, and of two. */
  private static final int PRECISION = 22;

  private static final int SHORT_PRECISION = 15;

  /** The largest of two signed bytes is 2^15 less one part in 255. */
  private static final float ROOM = 1 + 0x1p-7f;

  /** Groups whose largest number is below 2^{@value} count as that large: scales stay normal. */
  private static final int LEAST_EXPONENT = -60;

  /** Added to a number below 2^22, this leaves its nearest integer in the lowest bits. */
  private static final float WHOLE = 0x1.8p23f;

  /** Turns the bytes of a number, all from −128 to 127, into bytes of their sum and back. */
  private static final int SIGNS = 0x00808080;

  int group() {
    return kernel.vectors() * kernel.vectorBytes() * 2;
  }

  int groups() {
    return depth / group();
  }

  long bytes() {
    return rows * rowBytes();
  }

  private long rowBytes() {
    long units = ((long) groups() * blockRows + WidenKernel.BLOCK) * Float.BYTES;
    return (long) groups() * kernel.tableBytes() + Math.ceilDiv(units, 64L) * 64;
  }

  MemorySegment row(MemorySegment memory, int m) {
    return memory.asSlice(m * rowBytes());
  }

  MemorySegment units(MemorySegment memory, int m) {
    return memory.asSlice(m * rowBytes() + (long) groups() * kernel.tableBytes());
  }

  /**
   * Fills it in.
   *
   * @return whether all numbers are finite
   */
  boolean fill(Operand x, MemorySegment memory) {
    float[] line = new float[depth];
    int[] whole = new int[group()];
    int[] words = new int[kernel.tableBytes() / Integer.BYTES];
    float[] units = new float[groups()];
    for (int m = 0; m < rows; m++) {
      x.readInner(m, 0, depth, line, 0);
      MemorySegment table = row(memory, m);
      for (int g = 0; g < units.length; g++) {
        units[g] = wholeNumbers(line, g * whole.length, kernel.digits(), whole);
        if (units[g] == 0) {
          return false;
        }
        words(kernel, whole, words);
        long at = (long) g * kernel.tableBytes();
        MemorySegment.copy(words, 0, table, Element.INT, at, words.length);
      }
      MemorySegment times = units(memory, m);
      for (int row = 0; row < blockRows; row++) {
        long at = (long) row * units.length * Float.BYTES;
        MemorySegment.copy(units, 0, times, Element.FLOAT, at, units.length);
      }
    }
    return true;
  }

  /**
   * The whole numbers of a group of x.
   *
   * @return what one of them stands for, or 0 if not all of x is finite
   */
  private static float wholeNumbers(float[] x, int from, int digits, int[] whole) {
    float largest = largest(x, from, whole.length);
    if (!(largest < Float.POSITIVE_INFINITY)) {
      return 0;
    }
    int precision = digits == 2 ? SHORT_PRECISION : PRECISION;
    int exponent = Math.max(LEAST_EXPONENT, Math.getExponent(largest) + 1);
    if (digits == 2 && largest * ROOM >= scalb(exponent)) {
      exponent++;
    }
    round(x, from, scalb(precision - exponent), whole);
    return scalb(exponent - precision);
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

  /** The bytes of whole numbers, where the kernel wants them, and what zero points multiply. */
  private static void words(NibbleKernel kernel, int[] whole, int[] to) {
    int lanes = kernel.vectorBytes() / Integer.BYTES;
    int digits = kernel.digits();
    int ends = 2 * digits * kernel.vectors() * lanes;
    for (int lane = 0; lane < lanes; lane++) {
      int sum = 0;
      for (int vector = 0; vector < kernel.vectors(); vector++) {
        int first = 8 * (lanes * vector + lane);
        int at = 2 * digits * vector * lanes + lane;
        sum += words(whole, first, digits, 2 * lanes, to, at);
        sum += words(whole, first + 1, digits, 2 * lanes, to, at + lanes);
      }
      to[ends + lane] = kernel.zeros() ? Float.floatToRawIntBits(sum) : -8 * sum;
    }
  }

  /** The bytes of every other of eight numbers, the highest first; returns the numbers' sum. */
  private static int words(int[] whole, int from, int digits, int stride, int[] to, int at) {
    int a = whole[from];
    int b = whole[from + 2];
    int c = whole[from + 4];
    int d = whole[from + 6];
    int sum = a + b + c + d;
    a = a + SIGNS ^ SIGNS;
    b = b + SIGNS ^ SIGNS;
    c = c + SIGNS ^ SIGNS;
    d = d + SIGNS ^ SIGNS;
    // The first and third bytes of a and b, and of c and d.
    int outer = a & 0xff00ff | (b & 0xff00ff) << 8;
    int others = c & 0xff00ff | (d & 0xff00ff) << 8;
    if (digits == 3) {
      to[at] = outer >>> 16 | others & 0xffff0000;
      at += stride;
    }
    to[at] = a >>> 8 & 0xff | b & 0xff00 | (c >>> 8 & 0xff | d & 0xff00) << 16;
    to[at + stride] = outer & 0xffff | others << 16;
    return sum;
  }
}
