package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.CodeLayout;
import java.lang.foreign.MemorySegment;

/**
 * Rows of x as {@link fqt.tensor.cpu.asm.CodeDotKernel} wants them. Each group becomes whole
 * numbers times a power of two, so that rounding x costs little beside what it has been rounded to
 * already or what adding up costs:
 *
 * <ul>
 *   <li>F32: 22 bits and a sign, in error by at most 2⁻²² of the largest number of the group;
 *   <li>BF16 and F16: 15 bits and a sign, in error by at most 1.01 · 2⁻¹⁵ of it. The type itself
 *       rounds that number by up to 2⁻⁹ or 2⁻¹², so the product loses an eighth of that at most.
 * </ul>
 *
 * <p>Of each row there are the table of its groups, the units of their numbers, and where the
 * layout has starts the sums of their numbers.
 *
 * @param layout of the kernels
 * @param rows rows of x
 * @param groups of a row
 * @param memory where they are
 */
record WholeNumbers(CodeLayout layout, int rows, int groups, MemorySegment memory) {
  private static final int NOT_FINITE = Float.floatToRawIntBits(Float.POSITIVE_INFINITY);

  /** A whole block more than there are groups, and as much for what else the kernel leaves. */
  private static long unitBytes(int groups) {
    return Math.ceilDiv(groups, CodeLayout.BLOCK) * 32L + 64;
  }

  private static long rowBytes(CodeLayout layout, int groups) {
    return Math.ceilDiv((long) groups * layout.tableBytes(), 64L) * 64 + 2 * unitBytes(groups);
  }

  /** Bytes that some rows take. */
  static long bytes(CodeLayout layout, int rows, int groups) {
    return rows * rowBytes(layout, groups);
  }

  /** The address of the table of a row. */
  long table(int m) {
    return memory.address() + m * rowBytes(layout, groups);
  }

  /** The address of the units of a row. */
  long units(int m) {
    return table(m + 1) - 2 * unitBytes(groups);
  }

  /** Bytes from the units to the sums of groups. */
  long sumsAt() {
    return unitBytes(groups);
  }

  /**
   * Fills it in.
   *
   * @return whether all numbers are finite
   */
  boolean fill(CodeKernels kernels, Operand.Strided x) {
    for (int m = 0; m < rows; m++) {
      long from = x.bytes().address() + (x.offset() + m * x.outerStride()) * x.type().byteSize();
      kernels.whole(x.type()).turn(groups, from, table(m), units(m), sumsAt());
      long largest = units(m) - memory.address() + (groups + CodeLayout.BLOCK) * 4L;
      if (memory.get(Element.INT, largest) >= NOT_FINITE) {
        return false;
      }
    }
    return true;
  }
}
