package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.DotKernel.Kind;
import java.lang.foreign.MemorySegment;

/**
 * Rows of x as {@link DotKernel} wants them: copies, and loops over plain arrays, which are no
 * slower than vectors here and are fast from the first call on.
 */
final class DotInputs {
  private DotInputs() {}

  /**
   * Writes the first terms of a row as f32: as they are, or for bf16 weights first the even and
   * then the odd ones of each step.
   *
   * @param bits width of the kernel's vectors
   * @param count whole steps
   */
  static void floats(
      Kind kind, int bits, Operand x, int row, int count, MemorySegment to, long at) {
    int half = kind == Kind.BF16 ? DotKernel.step(kind, bits) / 2 : 0;
    if (x instanceof Operand.Strided dense && dense.innerStride() == 1) {
      long start = dense.offset() + row * dense.outerStride();
      if (dense.type() == DType.BF16) {
        bf16(dense.bytes(), start * Short.BYTES, count, half, to, at);
        return;
      }
      if (dense.type() == DType.F32 && half == 0) {
        long bytes = (long) count * Float.BYTES;
        MemorySegment.copy(dense.bytes(), start * Float.BYTES, to, at, bytes);
        return;
      }
    }
    float[] line = new float[count];
    x.readInner(row, 0, count, line, 0);
    float[] arranged = half == 0 ? line : new float[count];
    for (int done = 0; half > 0 && done < count; done += 2 * half) {
      for (int i = 0; i < half; i++) {
        arranged[done + i] = line[done + 2 * i];
        arranged[done + half + i] = line[done + 2 * i + 1];
      }
    }
    MemorySegment.copy(arranged, 0, to, Element.FLOAT, at, count);
  }

  private static void bf16(
      MemorySegment from, long start, int count, int half, MemorySegment to, long at) {
    short[] upper = new short[count];
    MemorySegment.copy(from, Element.SHORT, start, upper, 0, count);
    int[] bits = new int[count];
    for (int i = 0; half == 0 && i < count; i++) {
      bits[i] = upper[i] << Short.SIZE;
    }
    for (int done = 0; half > 0 && done < count; done += 2 * half) {
      for (int i = 0; i < half; i++) {
        bits[done + i] = upper[done + 2 * i] << Short.SIZE;
        bits[done + half + i] = upper[done + 2 * i + 1] << Short.SIZE;
      }
    }
    MemorySegment.copy(bits, 0, to, Element.INT, at, count);
  }

  /** Bytes of a row of s8. */
  static long byteRow(Kind kind, int count) {
    return kind == Kind.PAIRS ? 2L * count : count;
  }

  /** Writes the first terms of a row of s8; returns what its sums will have too much. */
  static int bytes(Kind kind, byte[] x, int count, MemorySegment to, long at) {
    if (kind == Kind.PAIRS) {
      short[] wide = new short[count];
      for (int k = 0; k < count; k++) {
        wide[k] = x[k];
      }
      MemorySegment.copy(wide, 0, to, Element.SHORT, at, count);
      return 0;
    }
    MemorySegment.copy(x, 0, to, Element.BYTE, at, count);
    int sum = 0;
    for (int k = 0; k < count; k++) {
      sum += x[k];
    }
    return 128 * sum;
  }
}
