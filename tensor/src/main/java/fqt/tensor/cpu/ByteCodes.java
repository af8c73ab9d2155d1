package fqt.tensor.cpu;

import fqt.tensor.DType;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * F32 to whole codes of a byte and back by one scale and one zero point, in a single pass: {@code
 * clamp(rint(x / scale) + zero, low, high)}, NaN counting as 0.
 *
 * <p>Adding {@link #ROUND} leaves the nearest whole number, ties to even, in the lowest bits of the
 * sum. Its bits grow with the sum, so that what is too large for that is cut off as an integer too.
 */
final class ByteCodes {
  private static final float ROUND = 0x1.8p23f;
  private static final int ROUND_BITS = Float.floatToRawIntBits(ROUND);

  /** Bounds and zero points beyond this leave no room for the sum. */
  private static final float MOST = 1 << 20;

  private final MemorySegment from;
  private final MemorySegment to;
  private final float low;
  private final float high;

  /** Codes of one type with a range; see {@link #serves}. */
  ByteCodes(MemorySegment from, MemorySegment to, DType type, float low, float high) {
    this.from = from;
    this.to = to;
    this.low = Math.max(low, type == DType.I8 ? Byte.MIN_VALUE : 0);
    this.high = Math.min(high, type == DType.I8 ? Byte.MAX_VALUE : 255);
  }

  /** The least code. */
  int low() {
    return (int) low;
  }

  /** The largest code. */
  int high() {
    return (int) high;
  }

  /** Whether codes of that type and range are made here, with the zero points that there are. */
  static boolean serves(DType type, float low, float high, MemorySegment zero) {
    boolean whole = (type == DType.I8 || type == DType.U8) && isWhole(low) && isWhole(high);
    long count = zero == null ? 0 : zero.byteSize() / Float.BYTES;
    for (long i = 0; whole && i < count; i++) {
      whole = isWhole(Element.f32(zero, i));
    }
    return whole;
  }

  private static boolean isWhole(float x) {
    return Math.abs(x) <= MOST && x == Math.rint(x);
  }

  /** Codes of {@code n} elements from element {@code index} on. */
  void quantize(long index, int n, float scale, float zero) {
    int least = ROUND_BITS + (int) (low - zero);
    int most = ROUND_BITS + (int) (high - zero);
    int shift = (int) zero - ROUND_BITS;
    int whole = Lanes.F.loopBound(n);
    vectors(from, index * Float.BYTES, whole, scale, least, most, shift, to, index);
    for (int i = whole; i < n; i++) {
      float value = Element.f32(from, index + i);
      float code = ScalarQuantize.code(value, scale, zero, low, high);
      to.set(Element.BYTE, index + i, (byte) (int) code);
    }
  }

  private static void vectors(
      MemorySegment from,
      long at,
      int n,
      float scale,
      int least,
      int most,
      int shift,
      MemorySegment to,
      long target) {
    FloatVector divisor = FloatVector.broadcast(Lanes.F, scale);
    for (int i = 0; i < n; i += Lanes.LENGTH) {
      FloatVector ratio = Lanes.load(from, at + (long) i * Float.BYTES).div(divisor);
      VectorMask<Integer> nan = ratio.compare(VectorOperators.NE, ratio).cast(Lanes.I);
      IntVector bits = ratio.add(ROUND).reinterpretAsInts().blend(ROUND_BITS, nan);
      Lanes.storeBytes(bits.max(least).min(most).add(shift), to, target + i);
    }
  }

  /**
   * {@code to = scale * (code - zero)} of {@code n} codes of a byte from element {@code index} on.
   *
   * @param mask the bits of an I32 that belong to a code: all, or eight of an unsigned one
   */
  static void dequantize(
      MemorySegment from, int mask, long index, int n, float scale, float zero, MemorySegment to) {
    long at = index * Float.BYTES;
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      FloatVector code =
          (FloatVector)
              Lanes.loadBytes(from, index + i)
                  .and(mask)
                  .convertShape(VectorOperators.I2F, Lanes.F, 0);
      Lanes.store(code.sub(zero).mul(scale), to, at + (long) i * Float.BYTES);
    }
    for (; i < n; i++) {
      float code = from.get(Element.BYTE, index + i) & mask;
      Element.f32(to, index + i, scale * (code - zero));
    }
  }
}
