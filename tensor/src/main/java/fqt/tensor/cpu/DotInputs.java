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

  /** Terms of a row as the kernel reads it: whole steps. */
  private static int padded(Kind kind, int bits, int depth) {
    return Gemm.roundUp(depth, DotKernel.step(kind, bits));
  }

  /** Bytes of such a row. */
  static long rowBytes(Kind kind, int bits, int depth) {
    long count = padded(kind, bits, depth);
    return switch (kind) {
      case F32, BF16, F16 -> count * Float.BYTES;
      case PAIRS -> count * Short.BYTES;
      case QUADS, VEX_QUADS -> count;
    };
  }

  /**
   * Writes a row as f32: as it is, or for bf16 weights first the even and then the odd terms of
   * each step. The last step ends with the row; if there is a rest it begins with zeros, where
   * terms come that the step before had.
   *
   * @param bits width of the kernel's vectors
   * @param depth terms, at least one step
   */
  static void floats(
      Kind kind, int bits, Operand x, int row, int depth, MemorySegment to, long at) {
    int step = DotKernel.step(kind, bits);
    int whole = depth / step * step;
    int count = padded(kind, bits, depth);
    int half = kind == Kind.BF16 ? step / 2 : 0;
    if (x instanceof Operand.Strided dense && dense.innerStride() == 1) {
      long start = dense.offset() + row * dense.outerStride();
      if (dense.type() == DType.BF16) {
        short[] upper = new short[count];
        copyShorts(dense.bytes(), start, whole, upper, 0);
        copyShorts(dense.bytes(), start + whole, depth - whole, upper, count - depth + whole);
        bf16(upper, half, to, at);
        return;
      }
      if (dense.type() == DType.F32 && half == 0) {
        long rest = at + (long) (count - depth + whole) * Float.BYTES;
        to.asSlice(at + (long) whole * Float.BYTES, (long) (count - whole) * Float.BYTES)
            .fill((byte) 0);
        copyFloats(dense.bytes(), start, whole, to, at);
        copyFloats(dense.bytes(), start + whole, depth - whole, to, rest);
        return;
      }
    }
    float[] line = new float[count];
    x.readInner(row, 0, whole, line, 0);
    if (whole < depth) {
      x.readInner(row, whole, depth - whole, line, count - depth + whole);
    }
    float[] arranged = half == 0 ? line : new float[count];
    for (int done = 0; half > 0 && done < count; done += 2 * half) {
      for (int i = 0; i < half; i++) {
        arranged[done + i] = line[done + 2 * i];
        arranged[done + half + i] = line[done + 2 * i + 1];
      }
    }
    MemorySegment.copy(arranged, 0, to, Element.FLOAT, at, count);
  }

  private static void copyShorts(MemorySegment from, long start, int count, short[] to, int at) {
    MemorySegment.copy(from, Element.SHORT, start * Short.BYTES, to, at, count);
  }

  private static void copyFloats(
      MemorySegment from, long start, int count, MemorySegment to, long at) {
    MemorySegment.copy(from, start * Float.BYTES, to, at, (long) count * Float.BYTES);
  }

  private static void bf16(short[] upper, int half, MemorySegment to, long at) {
    int count = upper.length;
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

  /** The same of s8; returns what its sums will have too much. */
  static int bytes(
      Kind kind, int bits, MemorySegment x, long from, int depth, MemorySegment to, long at) {
    int step = DotKernel.step(kind, bits);
    int whole = depth / step * step;
    byte[] line = new byte[padded(kind, bits, depth)];
    MemorySegment.copy(x, Element.BYTE, from, line, 0, whole);
    MemorySegment.copy(
        x, Element.BYTE, from + whole, line, line.length - depth + whole, depth - whole);
    if (kind == Kind.PAIRS) {
      short[] wide = new short[line.length];
      for (int k = 0; k < line.length; k++) {
        wide[k] = line[k];
      }
      MemorySegment.copy(wide, 0, to, Element.SHORT, at, wide.length);
      return 0;
    }
    MemorySegment.copy(line, 0, to, Element.BYTE, at, line.length);
    int sum = 0;
    for (byte value : line) {
      sum += value;
    }
    return 128 * sum;
  }
}
