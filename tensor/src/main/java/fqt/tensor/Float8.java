package fqt.tensor;

/**
 * The two 8-bit floating-point formats of the OCP specification (OFP8, revision 1.0), bit by bit.
 *
 * <pre>
 *   e4m3  s eeee mmm   bias 7,  no infinity, NaN = s 1111 111, largest 448
 *   e5m2  s eeeee mm   bias 15, infinity = s 11111 00,          largest 57344
 * </pre>
 */
public final class Float8 {
  /** Largest finite e4m3 value. */
  public static final float E4M3_MAX = 448f;

  /** Largest finite e5m2 value. */
  public static final float E5M2_MAX = 57344f;

  private Float8() {}

  /**
   * {@return the value of an e4m3 code, exactly}
   *
   * @param code any of the 256
   */
  public static float e4m3ToFloat(byte code) {
    int magnitude = code & 0x7f;
    float value = magnitude == 0x7f ? Float.NaN : Float.intBitsToFloat(magnitude << 20) * 0x1p120f;
    return code < 0 ? -value : value;
  }

  /**
   * {@return the value of an e5m2 code, exactly}
   *
   * @param code any of the 256
   */
  public static float e5m2ToFloat(byte code) {
    return Float.float16ToFloat((short) (code << 8));
  }

  /**
   * {@return the nearest e4m3 code, ties to even; beyond 448 the largest finite one; NaN stays NaN}
   *
   * @param value any number; infinities count as beyond the largest
   */
  public static byte floatToE4m3(float value) {
    int sign = Float.floatToRawIntBits(value) >>> 24 & 0x80;
    float magnitude = Math.abs(value);
    if (Float.isNaN(value)) {
      return (byte) (sign | 0x7f);
    }
    if (magnitude >= E4M3_MAX) {
      return (byte) (sign | 0x7e);
    }
    if (magnitude < 0x1p-6f) {
      // Subnormals are multiples of 2^-9; a carry out of the fraction is the smallest normal.
      return (byte) (sign | (int) Math.rint(magnitude * 0x1p9f));
    }
    int bits = Float.floatToRawIntBits(magnitude);
    int rounded = bits + 0x7ffff + (bits >>> 20 & 1) >>> 20;
    return (byte) (sign | rounded - (120 << 3));
  }

  /**
   * {@return the nearest e5m2 code, ties to even; beyond 57344 the largest finite one; NaN stays
   * NaN}
   *
   * @param value any number; infinities count as beyond the largest
   */
  public static byte floatToE5m2(float value) {
    int sign = Float.floatToRawIntBits(value) >>> 24 & 0x80;
    float magnitude = Math.abs(value);
    if (Float.isNaN(value)) {
      return (byte) (sign | 0x7f);
    }
    if (magnitude >= E5M2_MAX) {
      return (byte) (sign | 0x7b);
    }
    if (magnitude < 0x1p-14f) {
      return (byte) (sign | (int) Math.rint(magnitude * 0x1p16f));
    }
    int bits = Float.floatToRawIntBits(magnitude);
    int rounded = bits + 0xfffff + (bits >>> 21 & 1) >>> 21;
    return (byte) (sign | rounded - (112 << 2));
  }
}
