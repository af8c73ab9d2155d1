package fqt.tensor.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import fqt.tensor.DType;
import fqt.tensor.Float8;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Reads runs of elements of any float type, or I8, from memory into f32 arrays, exactly: how the
 * matrix kernels see their operands, and how conversions begin. Writes the types that need no more
 * than a vector of codes at a time.
 */
final class FloatRuns {
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> INTS = FLOATS.withLanes(int.class);
  private static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(
          short.class, VectorShape.forBitSize(FloatVector.SPECIES_PREFERRED.vectorBitSize() / 2));

  private static final VectorSpecies<Float> FLOATS8 = FloatVector.SPECIES_256;
  private static final VectorSpecies<Byte> BYTES8 = ByteVector.SPECIES_64;

  private static final float[] E4M3 = new float[256];
  private static final float[] E5M2 = new float[256];

  static {
    for (int code = 0; code < 256; code++) {
      E4M3[code] = Float8.e4m3ToFloat((byte) code);
      E5M2[code] = Float8.e5m2ToFloat((byte) code);
    }
  }

  private FloatRuns() {}

  /** Reads {@code count} elements that lie side by side, from element {@code from} on. */
  static void read(DType type, MemorySegment bytes, long from, int count, float[] to, int at) {
    switch (type) {
      case F32 -> MemorySegment.copy(bytes, Element.FLOAT, from * Float.BYTES, to, at, count);
      case BF16 -> readBf16(bytes, from * Short.BYTES, count, to, at);
      case F16 -> readF16(bytes, from * Short.BYTES, count, to, at);
      case F8_E4M3 -> readF8(E4M3, bytes, from, count, to, at);
      case F8_E5M2 -> readF8(E5M2, bytes, from, count, to, at);
      case I8 -> readI8(bytes, from, count, to, at);
      case I64, I32, I16, U8, BOOL -> throw new IllegalArgumentException(type + " is no float");
    }
  }

  /** Reads {@code count} elements that are {@code stride} elements apart. */
  static void readStrided(
      DType type, MemorySegment bytes, long from, long stride, int count, float[] to, int at) {
    for (int i = 0; i < count; i++) {
      read(type, bytes, from + i * stride, 1, to, at + i);
    }
  }

  private static void readBf16(MemorySegment bytes, long from, int count, float[] to, int at) {
    int i = 0;
    for (int end = FLOATS.loopBound(count); i < end; i += FLOATS.length()) {
      ShortVector.fromMemorySegment(SHORTS, bytes, from + (long) i * Short.BYTES, LITTLE_ENDIAN)
          .castShape(INTS, 0)
          .reinterpretAsInts()
          .lanewise(VectorOperators.LSHL, 16)
          .reinterpretAsFloats()
          .intoArray(to, at + i);
    }
    for (; i < count; i++) {
      to[at + i] =
          Float.intBitsToFloat(bytes.get(Element.SHORT, from + (long) i * Short.BYTES) << 16);
    }
  }

  /** Writes the nearest BF16 numbers, ties to even, from a byte position on; NaN stays NaN. */
  static void writeBf16(float[] from, int count, MemorySegment bytes, long to) {
    int i = 0;
    for (int end = FLOATS.loopBound(count); i < end; i += FLOATS.length()) {
      IntVector bits = FloatVector.fromArray(FLOATS, from, i).reinterpretAsInts();
      IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
      IntVector rounded = bits.add(high.and(1)).add(0x7fff).lanewise(VectorOperators.LSHR, 16);
      VectorMask<Integer> nan = bits.and(0x7fffffff).compare(VectorOperators.GT, 0x7f800000);
      ((ShortVector) rounded.blend(high.or(0x40), nan).castShape(SHORTS, 0))
          .intoMemorySegment(bytes, to + (long) i * Short.BYTES, LITTLE_ENDIAN);
    }
    for (; i < count; i++) {
      bytes.set(Element.SHORT, to + (long) i * Short.BYTES, Element.floatToBf16(from[i]));
    }
  }

  private static void readI8(MemorySegment bytes, long from, int count, float[] to, int at) {
    int i = 0;
    for (int end = FLOATS8.loopBound(count); i < end; i += FLOATS8.length()) {
      ByteVector.fromMemorySegment(BYTES8, bytes, from + i, LITTLE_ENDIAN)
          .castShape(FLOATS8, 0)
          .reinterpretAsFloats()
          .intoArray(to, at + i);
    }
    for (; i < count; i++) {
      to[at + i] = bytes.get(ValueLayout.JAVA_BYTE, from + i);
    }
  }

  /** In pieces through an array, where C2 turns the conversion into vector instructions. */
  private static void readF16(MemorySegment bytes, long from, int count, float[] to, int at) {
    short[] piece = new short[Math.min(count, 512)];
    for (int done = 0; done < count; done += piece.length) {
      int size = Math.min(piece.length, count - done);
      MemorySegment.copy(bytes, Element.SHORT, from + (long) done * Short.BYTES, piece, 0, size);
      for (int i = 0; i < size; i++) {
        to[at + done + i] = Float.float16ToFloat(piece[i]);
      }
    }
  }

  private static void readF8(
      float[] values, MemorySegment bytes, long from, int count, float[] to, int at) {
    for (int i = 0; i < count; i++) {
      to[at + i] = values[Byte.toUnsignedInt(bytes.get(ValueLayout.JAVA_BYTE, from + i))];
    }
  }

  /** Writes F32 elements side by side, from element {@code to} on. */
  static void write(float[] from, int at, int count, MemorySegment bytes, long to) {
    MemorySegment.copy(from, at, bytes, Element.FLOAT, to * Float.BYTES, count);
  }
}
