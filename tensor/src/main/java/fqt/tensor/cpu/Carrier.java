package fqt.tensor.cpu;

import fqt.tensor.DType;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.IntVector;

/**
 * A short run of elements on its way from one data type to another. Float types meet in F32,
 * integers up to 32 bits in I32; the run stays in the first-level cache, so that a conversion costs
 * what reading and writing memory costs, and five types need five readers and five writers, not
 * twenty-five loops. {@link Element} says what the conversions mean. I64 is not carried.
 *
 * <p>Plain loops over arrays here are ones that C2 vectorises by itself; those it does not are in
 * {@link FloatCodes}. Loops there run to a multiple of the vector length; what they leave behind
 * the end of a run is never written out.
 */
final class Carrier {
  /** Most elements of a run: a multiple of every vector length. */
  static final int CAPACITY = 1 << 10;

  /** The run as F32. */
  final float[] floats = new float[CAPACITY];

  /** The run as I32, or its codes on the way to and from F32. */
  final int[] ints = new int[CAPACITY];

  private final short[] shorts = new short[CAPACITY];

  /** Converts {@code n} elements of runs that may have different types, neither I64. */
  void convert(
      MemorySegment from, DType source, long a, MemorySegment to, DType target, long b, int n) {
    if (source.isFloat()) {
      readFloats(from, source, a, n);
      writeFloatsAs(to, target, b, n);
    } else {
      readInts(from, source, a, n);
      writeIntsAs(to, target, b, n);
    }
  }

  /** Writes {@code n} of {@link #floats} as any type but I64. */
  void writeFloatsAs(MemorySegment to, DType target, long index, int n) {
    if (target.isFloat()) {
      writeFloats(to, target, index, n);
      return;
    }
    if (target == DType.BOOL) {
      FloatCodes.notZero(floats, ints, n);
    } else {
      FloatCodes.round(floats, ints, n);
    }
    writeInts(to, target, index, n);
  }

  /** Writes {@code n} of {@link #ints} as any type but I64. */
  void writeIntsAs(MemorySegment to, DType target, long index, int n) {
    if (target.isFloat()) {
      toFloats(n);
      writeFloats(to, target, index, n);
    } else {
      writeInts(to, target, index, n);
    }
  }

  /** Reads {@code n} elements, from element {@code index} on, of a type other than I64. */
  void readFloats(MemorySegment from, DType dtype, long index, int n) {
    switch (dtype) {
      case F32, BF16 -> FloatRuns.read(dtype, from, index, n, floats, 0);
      case F16 -> {
        MemorySegment.copy(from, Element.SHORT, index * 2, shorts, 0, n);
        fromF16(n);
      }
      case F8_E4M3, F8_E5M2 -> {
        readBytes(from, index, n);
        decode(dtype, n);
      }
      case I32, I16, I8, U8, BOOL, I64 -> {
        readInts(from, dtype, index, n);
        toFloats(n);
      }
    }
  }

  /** Writes {@code n} of {@link #floats} as a float type. */
  void writeFloats(MemorySegment to, DType dtype, long index, int n) {
    switch (dtype) {
      case F32 -> FloatRuns.write(floats, 0, n, to, index);
      case F16 -> {
        toF16(n);
        MemorySegment.copy(shorts, 0, to, Element.SHORT, index * 2, n);
      }
      case BF16 -> FloatRuns.writeBf16(floats, n, to, index * 2);
      case F8_E4M3, F8_E5M2 -> {
        encode(dtype, n);
        writeBytes(to, index, n);
      }
      case I64, I32, I16, I8, U8, BOOL -> throw new AssertionError(dtype);
    }
  }

  /** Decodes {@link #ints}, codes of an F8 type, into {@link #floats}. */
  void decode(DType dtype, int n) {
    if (dtype == DType.F8_E4M3) {
      FloatCodes.fromE4m3(ints, floats, n);
    } else {
      FloatCodes.fromE5m2(ints, floats, n);
    }
  }

  /** Encodes {@link #floats} into {@link #ints} as codes of an F8 type. */
  void encode(DType dtype, int n) {
    if (dtype == DType.F8_E4M3) {
      FloatCodes.toE4m3(floats, ints, n);
    } else {
      FloatCodes.toE5m2(floats, ints, n);
    }
  }

  /** Reads {@code n} integers of at most 32 bits. */
  void readInts(MemorySegment from, DType dtype, long index, int n) {
    switch (dtype) {
      case I32 -> MemorySegment.copy(from, Element.INT, index * 4, ints, 0, n);
      case I16 -> {
        MemorySegment.copy(from, Element.SHORT, index * 2, shorts, 0, n);
        widenShorts(n);
      }
      case I8 -> readBytes(from, index, n);
      case U8, BOOL -> {
        readBytes(from, index, n);
        clearSigns(n);
      }
      case I64, F32, F16, BF16, F8_E4M3, F8_E5M2 -> throw new AssertionError(dtype);
    }
  }

  /** Writes {@code n} of {@link #ints} as integers of at most 32 bits, saturating. */
  void writeInts(MemorySegment to, DType dtype, long index, int n) {
    switch (dtype) {
      case I32 -> MemorySegment.copy(ints, 0, to, Element.INT, index * 4, n);
      case I16 -> {
        clamp(Short.MIN_VALUE, Short.MAX_VALUE, n);
        narrowToShorts(n);
        MemorySegment.copy(shorts, 0, to, Element.SHORT, index * 2, n);
      }
      case I8, U8, BOOL -> {
        switch (dtype) {
          case I8 -> clamp(Byte.MIN_VALUE, Byte.MAX_VALUE, n);
          case U8 -> clamp(0, 255, n);
          default -> notZero(n);
        }
        writeBytes(to, index, n);
      }
      case I64, F32, F16, BF16, F8_E4M3, F8_E5M2 -> throw new AssertionError(dtype);
    }
  }

  private void toFloats(int n) {
    for (int i = 0; i < n; i++) {
      floats[i] = ints[i];
    }
  }

  private void fromF16(int n) {
    for (int i = 0; i < n; i++) {
      floats[i] = Float.float16ToFloat(shorts[i]);
    }
  }

  private void toF16(int n) {
    for (int i = 0; i < n; i++) {
      shorts[i] = Float.floatToFloat16(floats[i]);
    }
  }

  private void widenShorts(int n) {
    for (int i = 0; i < n; i++) {
      ints[i] = shorts[i];
    }
  }

  /** Vectors: loops from bytes to ints and back C2 leaves as they are. */
  private void readBytes(MemorySegment from, long at, int n) {
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      Lanes.loadBytes(from, at + i).intoArray(ints, i);
    }
    for (; i < n; i++) {
      ints[i] = from.get(Element.BYTE, at + i);
    }
  }

  private void writeBytes(MemorySegment to, long at, int n) {
    int i = 0;
    for (; i <= n - Lanes.LENGTH; i += Lanes.LENGTH) {
      Lanes.storeBytes(IntVector.fromArray(Lanes.I, ints, i), to, at + i);
    }
    for (; i < n; i++) {
      to.set(Element.BYTE, at + i, (byte) ints[i]);
    }
  }

  private void clearSigns(int n) {
    for (int i = 0; i < n; i++) {
      ints[i] &= 0xff;
    }
  }

  private void narrowToShorts(int n) {
    for (int i = 0; i < n; i++) {
      shorts[i] = (short) ints[i];
    }
  }

  private void clamp(int low, int high, int n) {
    for (int i = 0; i < n; i++) {
      ints[i] = Math.min(Math.max(ints[i], low), high);
    }
  }

  private void notZero(int n) {
    for (int i = 0; i < n; i++) {
      ints[i] = ints[i] == 0 ? 0 : 1;
    }
  }
}
