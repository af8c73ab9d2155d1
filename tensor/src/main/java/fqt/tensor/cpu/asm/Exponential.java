package fqt.tensor.cpu.asm;

/**
 * Writes the instructions of eˣ, as parts of other kernels: with n the whole number nearest to x /
 * ln 2 and r = x − n ln 2, |r| ≤ ln 2 / 2, it is 2ⁿ (1 + r + r² p(r)). The polynomial was fitted
 * for the least largest relative error and rounded to F32.
 *
 * <p>The result is within 1.03 units in the last place (all floats tried) from −87.3 to 88.3; it is
 * 0 from −88 down, fades to 0 on the way there, and is infinite from 88.4 on. NaN stays NaN.
 */
final class Exponential {
  /** The first of the registers that hold constants; those below are free. */
  static final int CONSTANTS = 5;

  /** A register with 1 in all lanes. */
  static final int ONE = 6;

  private static final int LEAST = 5;
  private static final int POLYNOMIAL = 7;
  private static final int LOW = 12;
  private static final int HIGH = 13;
  private static final int ROUND = 14;
  private static final int LOG2_E = 15;

  /** Coefficients of p, the highest first. */
  private static final float[] COEFFICIENTS = {
    0.00138143834f, 0.00836881716f, 0.0416683964f, 0.166665196f, 0.49999994f
  };

  private Exponential() {}

  /** Loads the constants; uses rax and the stack below rsp. */
  static void constants(Assembler code, int bits) {
    broadcast(code, bits, LEAST, -88);
    broadcast(code, bits, ONE, 1);
    for (int i = 0; i < COEFFICIENTS.length; i++) {
      broadcast(code, bits, POLYNOMIAL + i, COEFFICIENTS[i]);
    }
    // ln 2 in two parts; the first has few enough bits that n times it is exact.
    broadcast(code, bits, HIGH, 0.693359375f);
    broadcast(code, bits, LOW, -2.12194440e-4f);
    // Leaves no room for a fraction, and n + 127, the exponent of 2ⁿ, in the lowest bits.
    broadcast(code, bits, ROUND, 0x1.8p23f + 127);
    broadcast(code, bits, LOG2_E, 1.44269504f);
  }

  /** The same number in all lanes of a register; uses rax and the stack below rsp. */
  static void broadcast(Assembler code, int bits, int register, float value) {
    code.broadcast(bits, register, Float.floatToRawIntBits(value));
  }

  /** {@code result = e^x}; x must be below 89 and is lost, as is {@code free}. */
  static void emit(Assembler code, int bits, int x, int free, int result) {
    code.vector(Op.VMAXPS, bits, x, LEAST, x);
    code.vector(Op.VMOVUPS, bits, free, 0, ROUND);
    code.vector(Op.VFMADD231PS, bits, free, x, LOG2_E);
    code.vector(Op.VSUBPS, bits, result, free, ROUND);
    code.vector(Op.VFNMADD231PS, bits, x, result, HIGH);
    code.vector(Op.VFNMADD231PS, bits, x, result, LOW);
    code.vector(Op.VMOVUPS, bits, result, 0, POLYNOMIAL);
    for (int i = 1; i < COEFFICIENTS.length; i++) {
      code.vector(Op.VFMADD213PS, bits, result, x, POLYNOMIAL + i);
    }
    code.vector(Op.VMULPS, bits, result, result, x);
    code.vector(Op.VFMADD213PS, bits, result, x, x);
    code.vector(Op.VADDPS, bits, result, result, ONE);
    code.shift(Op.VPSLLD, bits, free, free, 23);
    code.vector(Op.VMULPS, bits, result, result, free);
  }
}
