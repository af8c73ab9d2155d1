package fqt.tensor.cpu.asm;

/**
 * Writes the instructions of eˣ, as parts of other kernels: with n the whole number nearest to x /
 * ln 2 and r = x − n ln 2, |r| ≤ ln 2 / 2, it is 2ⁿ (1 + r + r² p(r)). The polynomial was fitted
 * for the least largest relative error and rounded to F32.
 *
 * <p>What bounds such a loop is not how many instructions it has but how long each number waits for
 * itself: the processor has seven or eight vectors in flight at a time. So the polynomial is split
 * into halves.
 *
 * <p>The result is within 1.04 units in the last place (all floats tried) from −87.3 to 88.3; it is
 * 0 from −88 down, and fades to 0 on the way there. NaN stays NaN.
 */
final class Exponential {
  /** The registers below hold what is worked on; the constants stand in the ten from here on. */
  static final int CONSTANTS = 5;

  /** The first register behind the constants. */
  static final int FREE = 15;

  private static final int LEAST = 5;
  private static final int POLYNOMIAL = 6;
  private static final int LOW = 11;
  private static final int HIGH = 12;
  private static final int ROUND = 13;
  private static final int LOG2_E = 14;

  /** Coefficients of p, the lowest first. */
  private static final float[] COEFFICIENTS = {
    0.49999994f, 0.166665196f, 0.0416683964f, 0.00836881716f, 0.00138143834f
  };

  private Exponential() {}

  /** Loads the constants; uses rax and the stack below rsp. */
  static void constants(Assembler code, int bits) {
    broadcast(code, bits, LEAST, -88);
    for (int i = 0; i < COEFFICIENTS.length; i++) {
      broadcast(code, bits, POLYNOMIAL + i, COEFFICIENTS[i]);
    }
    // ln 2 and what it lost when it was rounded; n times the first is exact in a fused operation.
    broadcast(code, bits, HIGH, 0.693147182f);
    broadcast(code, bits, LOW, 1.90465421e-9f);
    // Leaves no room for a fraction, and n + 127, the exponent of 2ⁿ, in the lowest bits.
    broadcast(code, bits, ROUND, 0x1.8p23f + 127);
    broadcast(code, bits, LOG2_E, 1.44269504f);
  }

  /** The same number in all lanes of a register; uses rax and the stack below rsp. */
  static void broadcast(Assembler code, int bits, int register, float value) {
    code.broadcast(bits, register, Float.floatToRawIntBits(value));
  }

  /** Register 2 becomes e^x for the x of register 0, below 88; uses those up to 4. */
  static void emit(Assembler code, int bits) {
    power(code, bits);
    code.vector(Op.VFMADD213PS, bits, 2, 1, 1);
  }

  /** The same for x up to 89, infinite from 88.4 on; {@code one} is where 1 stands in memory. */
  static void emitAll(Assembler code, int bits, Mem one) {
    power(code, bits);
    code.vector(Op.VADDPS, bits, 2, 2, one);
    code.vector(Op.VMULPS, bits, 2, 2, 1);
  }

  /** Register 1 becomes 2ⁿ and register 2 the rest of e^x, less 1. */
  private static void power(Assembler code, int bits) {
    int x = 0;
    int scale = 1;
    int result = 2;
    int square = 3;
    int upper = 4;
    code.vector(Op.VMAXPS, bits, x, LEAST, x);
    code.vector(Op.VMOVUPS, bits, scale, 0, ROUND);
    code.vector(Op.VFMADD231PS, bits, scale, x, LOG2_E);
    code.vector(Op.VSUBPS, bits, result, scale, ROUND);
    code.vector(Op.VFNMADD231PS, bits, x, result, HIGH);
    code.vector(Op.VFMADD231PS, bits, x, result, LOW);
    code.vector(Op.VMULPS, bits, square, x, x);
    code.vector(Op.VMOVUPS, bits, upper, 0, POLYNOMIAL + 3);
    code.vector(Op.VFMADD213PS, bits, upper, x, POLYNOMIAL + 2);
    code.vector(Op.VMOVUPS, bits, result, 0, x);
    code.vector(Op.VFMADD213PS, bits, x, POLYNOMIAL + 1, POLYNOMIAL);
    code.vector(Op.VFMADD231PS, bits, upper, square, POLYNOMIAL + 4);
    code.shift(Op.VPSLLD, bits, scale, scale, 23);
    code.vector(Op.VFMADD213PS, bits, upper, square, x);
    code.vector(Op.VFMADD231PS, bits, result, upper, square);
  }
}
