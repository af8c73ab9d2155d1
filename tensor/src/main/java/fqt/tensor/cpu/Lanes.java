package fqt.tensor.cpu;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The seam where vector code starts: the vector shapes of this machine and how to load and store
 * them. The species are constants, as C2 needs them to be; an element index is a byte offset plus
 * an int, because C2 drops the bounds checks of int loops only.
 */
final class Lanes {
  /** The widest vector of F32 that the machine prefers. */
  static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;

  /** As many lanes of I32. */
  static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, F.vectorShape());

  /** The same bits as F64: half as many lanes. */
  static final VectorSpecies<Double> D = VectorSpecies.of(double.class, F.vectorShape());

  /** Half a vector of F32, whose lanes widen one to one to {@link #D}. */
  static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(F.vectorBitSize() / 2));

  /** F32 lanes of a vector. */
  static final int LENGTH = F.length();

  // As many bytes as lanes, or the eight that vectors have at least.
  private static final VectorSpecies<Byte> BYTES =
      VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, LENGTH * Byte.SIZE)));

  private static final VectorMask<Byte> USED_BYTES = BYTES.indexInRange(0, LENGTH);

  private Lanes() {}

  /** A full vector. */
  static FloatVector load(MemorySegment bytes, long offset) {
    return FloatVector.fromMemorySegment(F, bytes, offset, ByteOrder.LITTLE_ENDIAN);
  }

  /** The lanes that the mask selects, 0 in the others. */
  static FloatVector load(MemorySegment bytes, long offset, VectorMask<Float> tail) {
    return FloatVector.fromMemorySegment(F, bytes, offset, ByteOrder.LITTLE_ENDIAN, tail);
  }

  /** Half a vector, widened to F64. */
  static DoubleVector loadWide(MemorySegment bytes, long offset) {
    FloatVector half = FloatVector.fromMemorySegment(HALF, bytes, offset, ByteOrder.LITTLE_ENDIAN);
    return (DoubleVector) half.convertShape(VectorOperators.F2D, D, 0);
  }

  /** As many bytes as there are lanes, each sign-extended to an I32. */
  static IntVector loadBytes(MemorySegment bytes, long offset) {
    ByteVector narrow =
        BYTES.length() == LENGTH
            ? ByteVector.fromMemorySegment(BYTES, bytes, offset, ByteOrder.LITTLE_ENDIAN)
            : ByteVector.fromMemorySegment(
                BYTES, bytes, offset, ByteOrder.LITTLE_ENDIAN, USED_BYTES);
    return (IntVector) narrow.castShape(I, 0);
  }

  /** Stores the lowest byte of each lane. */
  static void storeBytes(IntVector vector, MemorySegment bytes, long offset) {
    ByteVector narrow = (ByteVector) vector.convertShape(VectorOperators.I2B, BYTES, 0);
    if (BYTES.length() == LENGTH) {
      narrow.intoMemorySegment(bytes, offset, ByteOrder.LITTLE_ENDIAN);
    } else {
      narrow.intoMemorySegment(bytes, offset, ByteOrder.LITTLE_ENDIAN, USED_BYTES);
    }
  }

  /** Stores a full vector. */
  static void store(FloatVector vector, MemorySegment bytes, long offset) {
    vector.intoMemorySegment(bytes, offset, ByteOrder.LITTLE_ENDIAN);
  }

  /** Stores the lanes that the mask selects. */
  static void store(FloatVector vector, MemorySegment bytes, long offset, VectorMask<Float> tail) {
    vector.intoMemorySegment(bytes, offset, ByteOrder.LITTLE_ENDIAN, tail);
  }

  /** Selects the first {@code count} lanes. */
  static VectorMask<Float> first(int count) {
    return F.indexInRange(0, count);
  }

  /** The nearest whole numbers, ties to even; NaN and infinities stay. */
  static FloatVector rint(FloatVector x) {
    // Adding 2^23 leaves no fraction bits; beyond it every float is whole. The sign is put back so
    // that −0.3 becomes −0, as Math.rint has it.
    IntVector sign = x.reinterpretAsInts().and(0x80000000);
    FloatVector magnitude = x.abs();
    FloatVector whole = magnitude.add(0x1p23f).sub(0x1p23f);
    FloatVector signed = whole.reinterpretAsInts().or(sign).reinterpretAsFloats();
    return x.blend(signed, magnitude.lt(0x1p23f));
  }

  /**
   * The sum of the lanes, in F64 and in one order. {@code reduceLanes} leaves the order open: it
   * differs between the interpreter and compiled code, and with it the last bits.
   */
  static double sum(FloatVector x) {
    float[] lanes = new float[LENGTH];
    x.intoArray(lanes, 0);
    double sum = 0;
    for (float lane : lanes) {
      sum += lane;
    }
    return sum;
  }

  /** The sum of the lanes in one order. */
  static double sum(DoubleVector x) {
    double[] lanes = new double[D.length()];
    x.intoArray(lanes, 0);
    double sum = 0;
    for (double lane : lanes) {
      sum += lane;
    }
    return sum;
  }
}
