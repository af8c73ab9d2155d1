package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.I;
import static fqt.tensor.cpu.Lanes.LENGTH;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * F32 to and from codes of fewer bits, held in the low bits of ints. Only the low bits of a code
 * are read, and only they are meaningful when one is written. Arrays are at least as long as {@code
 * n} rounded up to the vector length.
 *
 * <pre>
 *   F32   s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm   bias 127
 *   E4M3  s eeee mmm                           bias 7, s 1111 111 is NaN
 *   E5M2  s eeeee mm                           bias 15, s 11111 00 is infinite, other fractions NaN
 * </pre>
 */
final class FloatCodes {
  private static final int SIGN = 0x80000000;

  private FloatCodes() {}

  static void fromE4m3(int[] codes, float[] floats, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      IntVector code = IntVector.fromArray(I, codes, i);
      IntVector magnitude = code.and(0x7f);
      // Exponent and fraction in the place of F32's; the product corrects the bias, also of
      // subnormals.
      FloatVector value =
          magnitude.lanewise(VectorOperators.LSHL, 20).reinterpretAsFloats().mul(0x1p120f);
      IntVector bits = value.reinterpretAsInts();
      VectorMask<Integer> nan = magnitude.eq(0x7f);
      signed(bits.blend(0x7fc00000, nan), code).reinterpretAsFloats().intoArray(floats, i);
    }
  }

  static void fromE5m2(int[] codes, float[] floats, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      IntVector code = IntVector.fromArray(I, codes, i);
      IntVector magnitude = code.and(0x7f);
      IntVector shifted = magnitude.lanewise(VectorOperators.LSHL, 21);
      IntVector bits = shifted.reinterpretAsFloats().mul(0x1p112f).reinterpretAsInts();
      IntVector special = bits.blend(0x7f800000, magnitude.eq(0x7c));
      IntVector quiet = shifted.or(0x7fc00000);
      special = special.blend(quiet, magnitude.compare(VectorOperators.GT, 0x7c));
      signed(special, code).reinterpretAsFloats().intoArray(floats, i);
    }
  }

  static void toE4m3(float[] floats, int[] codes, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector value = FloatVector.fromArray(F, floats, i);
      FloatVector magnitude = value.abs();
      IntVector bits = magnitude.reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 20).and(1);
      IntVector normal =
          bits.add(odd).add(0x7ffff).lanewise(VectorOperators.LSHR, 20).sub(120 << 3);
      // Subnormals are multiples of 2^-9: adding 2^14 leaves them in the lowest bits.
      IntVector subnormal = magnitude.add(0x1p14f).reinterpretAsInts().and(0xf);
      IntVector code = normal.blend(subnormal, bits.lt(Float.floatToRawIntBits(0x1p-6f)));
      code = code.blend(0x7e, bits.compare(VectorOperators.GE, Float.floatToRawIntBits(448f)));
      code = code.blend(0x7f, isNan(bits));
      code.or(signBit(value)).intoArray(codes, i);
    }
  }

  static void toE5m2(float[] floats, int[] codes, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector value = FloatVector.fromArray(F, floats, i);
      FloatVector magnitude = value.abs();
      IntVector bits = magnitude.reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 21).and(1);
      IntVector normal =
          bits.add(odd).add(0xfffff).lanewise(VectorOperators.LSHR, 21).sub(112 << 2);
      // Subnormals are multiples of 2^-16: adding 2^7 leaves them in the lowest bits.
      IntVector subnormal = magnitude.add(0x1p7f).reinterpretAsInts().and(0xf);
      IntVector code = normal.blend(subnormal, bits.lt(Float.floatToRawIntBits(0x1p-14f)));
      code = code.blend(0x7b, bits.compare(VectorOperators.GE, Float.floatToRawIntBits(57344f)));
      code = code.blend(0x7f, isNan(bits));
      code.or(signBit(value)).intoArray(codes, i);
    }
  }

  /** The nearest integers, ties to even, saturating; NaN becomes 0. */
  static void round(float[] floats, int[] ints, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector whole = Lanes.rint(FloatVector.fromArray(F, floats, i));
      ((IntVector) whole.convertShape(VectorOperators.F2I, I, 0)).intoArray(ints, i);
    }
  }

  /** 1 for everything but zero. */
  static void notZero(float[] floats, int[] ints, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      IntVector bits = FloatVector.fromArray(F, floats, i).reinterpretAsInts();
      VectorMask<Integer> zero = bits.and(0x7fffffff).eq(0);
      IntVector.broadcast(I, 1).blend(0, zero).intoArray(ints, i);
    }
  }

  private static IntVector signed(IntVector magnitude, IntVector code) {
    return code.lanewise(VectorOperators.LSHL, 24).and(SIGN).or(magnitude);
  }

  private static IntVector signBit(FloatVector value) {
    return value.reinterpretAsInts().lanewise(VectorOperators.LSHR, 24).and(0x80);
  }

  private static VectorMask<Integer> isNan(IntVector bits) {
    return bits.and(0x7fffffff).compare(VectorOperators.GT, 0x7f800000);
  }
}
