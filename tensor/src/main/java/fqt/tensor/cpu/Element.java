package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Float8;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * One element of host memory, and what a conversion means. Between float types a value is rounded
 * to the nearest, ties to even; F16 and BF16 overflow to infinity, the F8 types saturate. Towards
 * an integer type a float is rounded to the nearest, ties to even, and saturates; NaN becomes 0.
 * Between integer types a value saturates. Towards BOOL everything but zero is 1. An integer
 * becomes a float type through F32.
 *
 * <p>For scalar twins and edges: kernels do not loop over these.
 */
final class Element {
  static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
  static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfDouble DOUBLE =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private Element() {}

  /** Element {@code index} of an F32 run. */
  static float f32(MemorySegment bytes, long index) {
    return bytes.get(FLOAT, index * Float.BYTES);
  }

  /** Sets element {@code index} of an F32 run. */
  static void f32(MemorySegment bytes, long index, float value) {
    bytes.set(FLOAT, index * Float.BYTES, value);
  }

  /** Element {@code index} of an I32 run. */
  static int i32(MemorySegment bytes, long index) {
    return bytes.get(INT, index * Integer.BYTES);
  }

  /** Element {@code index} of a run of any type, as F32. */
  static float getFloat(MemorySegment bytes, DType dtype, long index) {
    return switch (dtype) {
      case F32 -> bytes.get(FLOAT, index * Float.BYTES);
      case F16 -> Float.float16ToFloat(bytes.get(SHORT, index * Short.BYTES));
      case BF16 -> Float.intBitsToFloat(bytes.get(SHORT, index * Short.BYTES) << 16);
      case F8_E4M3 -> Float8.e4m3ToFloat(bytes.get(BYTE, index));
      case F8_E5M2 -> Float8.e5m2ToFloat(bytes.get(BYTE, index));
      case I64, I32, I16, I8, U8, BOOL -> getLong(bytes, dtype, index);
    };
  }

  /** Element {@code index} of an integer run. */
  static long getLong(MemorySegment bytes, DType dtype, long index) {
    return switch (dtype) {
      case I64 -> bytes.get(LONG, index * Long.BYTES);
      case I32 -> bytes.get(INT, index * Integer.BYTES);
      case I16 -> bytes.get(SHORT, index * Short.BYTES);
      case I8 -> bytes.get(BYTE, index);
      case U8, BOOL -> Byte.toUnsignedLong(bytes.get(BYTE, index));
      case F32, F16, BF16, F8_E4M3, F8_E5M2 -> throw new AssertionError(dtype);
    };
  }

  /** Sets element {@code index} of a run of any type. */
  static void setFloat(MemorySegment bytes, DType dtype, long index, float value) {
    switch (dtype) {
      case F32 -> bytes.set(FLOAT, index * Float.BYTES, value);
      case F16 -> bytes.set(SHORT, index * Short.BYTES, Float.floatToFloat16(value));
      case BF16 -> bytes.set(SHORT, index * Short.BYTES, floatToBf16(value));
      case F8_E4M3 -> bytes.set(BYTE, index, Float8.floatToE4m3(value));
      case F8_E5M2 -> bytes.set(BYTE, index, Float8.floatToE5m2(value));
      case I64, I32, I16, I8, U8 -> setLong(bytes, dtype, index, (long) Math.rint(value));
      case BOOL -> bytes.set(BYTE, index, (byte) (value != 0 ? 1 : 0));
    }
  }

  /** Sets element {@code index} of a run of any type. */
  static void setLong(MemorySegment bytes, DType dtype, long index, long value) {
    switch (dtype) {
      case I64 -> bytes.set(LONG, index * Long.BYTES, value);
      case I32 ->
          bytes.set(
              INT, index * Integer.BYTES, Math.clamp(value, Integer.MIN_VALUE, Integer.MAX_VALUE));
      case I16 ->
          bytes.set(
              SHORT,
              index * Short.BYTES,
              (short) Math.clamp(value, Short.MIN_VALUE, Short.MAX_VALUE));
      case I8 -> bytes.set(BYTE, index, (byte) Math.clamp(value, Byte.MIN_VALUE, Byte.MAX_VALUE));
      case U8 -> bytes.set(BYTE, index, (byte) Math.clamp(value, 0, 255));
      case BOOL -> bytes.set(BYTE, index, (byte) (value != 0 ? 1 : 0));
      case F32, F16, BF16, F8_E4M3, F8_E5M2 -> setFloat(bytes, dtype, index, (float) value);
    }
  }

  /** The nearest BF16, ties to even; a NaN keeps its sign and stays a (quiet) NaN. */
  static short floatToBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }
}
