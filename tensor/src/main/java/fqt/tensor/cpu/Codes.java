package fqt.tensor.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Spreads packed codes of 2 to 8 bits, least significant first, into whole f32 numbers. */
final class Codes {
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> FLOATS8 = FloatVector.SPECIES_256;
  private static final VectorSpecies<Integer> INTS8 = IntVector.SPECIES_256;
  private static final VectorSpecies<Byte> BYTES8 = ByteVector.SPECIES_64;
  private static final IntVector NIBBLES = IntVector.broadcast(INTS8, 0).addIndex(4);

  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(LITTLE_ENDIAN);

  private Codes() {}

  /** {@code scale * (code - zero)} of 4-bit codes from the byte on where a word begins. */
  static void unpack4(
      MemorySegment words, long start, int count, float zero, float scale, float[] to, int at) {
    int i = 0;
    for (int end = FLOATS8.loopBound(count); i < end; i += 8) {
      IntVector.broadcast(INTS8, words.get(INT, start + i / 2))
          .lanewise(VectorOperators.LSHR, NIBBLES)
          .and(15)
          .convert(VectorOperators.I2F, 0)
          .reinterpretAsFloats()
          .sub(zero)
          .mul(scale)
          .intoArray(to, at + i);
    }
    for (; i < count; i++) {
      int code = words.get(ValueLayout.JAVA_BYTE, start + i / 2) >> 4 * (i & 1) & 15;
      to[at + i] = scale * (code - zero);
    }
  }

  /** Codes of 8 bits from a byte position on. */
  static void unpack8(MemorySegment words, long start, int count, float[] to, int at) {
    int i = 0;
    for (int end = FLOATS8.loopBound(count); i < end; i += 8) {
      ByteVector.fromMemorySegment(BYTES8, words, start + i, LITTLE_ENDIAN)
          .castShape(INTS8, 0)
          .reinterpretAsInts()
          .and(255)
          .convert(VectorOperators.I2F, 0)
          .reinterpretAsFloats()
          .intoArray(to, at + i);
    }
    for (; i < count; i++) {
      to[at + i] = Byte.toUnsignedInt(words.get(ValueLayout.JAVA_BYTE, start + i));
    }
  }

  /** Codes of any width; {@code start} is the byte where the row begins. */
  static void unpack(
      MemorySegment words, long start, int bits, int from, int count, float[] to, int at) {
    int mask = (1 << bits) - 1;
    for (int i = 0; i < count; i++) {
      long bit = (long) (from + i) * bits;
      int shift = (int) (bit % Integer.SIZE);
      long word = start + bit / Integer.SIZE * Integer.BYTES;
      long code = Integer.toUnsignedLong(words.get(INT, word)) >>> shift;
      if (shift + bits > Integer.SIZE) {
        code |= (long) words.get(INT, word + Integer.BYTES) << Integer.SIZE - shift;
      }
      to[at + i] = code & mask;
    }
  }

  /** {@code x = scale * (x - zero)} in place. */
  static void scale(float[] x, int at, int count, float zero, float scale) {
    int i = 0;
    for (int end = FLOATS.loopBound(count); i < end; i += FLOATS.length()) {
      FloatVector.fromArray(FLOATS, x, at + i).sub(zero).mul(scale).intoArray(x, at + i);
    }
    for (; i < count; i++) {
      x[at + i] = scale * (x[at + i] - zero);
    }
  }
}
