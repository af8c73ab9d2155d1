package fqt.tensor.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Elementary functions of vectors, made of additions, multiplications and fused multiply-adds only,
 * so that they give the same bits on every machine; the library behind {@code lanewise(EXP)} does
 * not. The polynomials were fitted for the least largest relative error and rounded to F32.
 */
final class VectorMath {
  private static final float LOG2_E = 1.44269504f;
  // ln 2 in two parts; the first has few enough bits that n times it is exact.
  private static final float LN2_HIGH = 0.693359375f;
  private static final float LN2_LOW = -2.12194440e-4f;

  // Added to n, leaves no room for a fraction, and n in the lowest bits.
  private static final float SHIFT = 0x1.8p23f;
  private static final int SHIFT_BITS = Float.floatToRawIntBits(SHIFT);

  private static final float SMALLEST = -87f;

  private VectorMath() {}

  /** {@code x = eˣ} over an array of whole vectors. */
  static void exp(float[] x, int n) {
    for (int i = 0; i < n; i += Lanes.LENGTH) {
      exp(FloatVector.fromArray(Lanes.F, x, i)).intoArray(x, i);
    }
  }

  /** eˣ within 1 unit in the last place; overflows to infinity, underflows gradually to 0. */
  static FloatVector exp(FloatVector x) {
    FloatVector bounded = x.blend(-105f, x.lt(-105f));
    bounded = bounded.blend(89f, bounded.compare(VectorOperators.GT, 89f));
    FloatVector shifted = bounded.mul(LOG2_E).add(SHIFT);
    FloatVector p = reduced(bounded, shifted.sub(SHIFT));
    // 2^n in two factors: one alone would overflow before the result does.
    IntVector exponent = shifted.reinterpretAsInts().sub(SHIFT_BITS);
    IntVector lower = exponent.lanewise(VectorOperators.ASHR, 1);
    return p.mul(power(lower)).mul(power(exponent.sub(lower)));
  }

  /**
   * eˣ for x ≤ 0, as a softmax weighs: 0 below −87, where results would no longer be normal
   * numbers, whose arithmetic takes processors many times as long.
   */
  static FloatVector weight(FloatVector x) {
    FloatVector bounded = x.blend(SMALLEST, x.lt(SMALLEST));
    FloatVector shifted = bounded.mul(LOG2_E).add(SHIFT);
    FloatVector p = reduced(bounded, shifted.sub(SHIFT));
    return p.mul(power(shifted.reinterpretAsInts())).blend(0f, x.lt(SMALLEST));
  }

  /** {@code e^r = 1 + r + r² p(r)} for the rest r of x beside n times ln 2, |r| ≤ ln 2 / 2. */
  private static FloatVector reduced(FloatVector x, FloatVector n) {
    FloatVector r = n.fma(FloatVector.broadcast(Lanes.F, -LN2_HIGH), x);
    r = n.fma(FloatVector.broadcast(Lanes.F, -LN2_LOW), r);
    FloatVector p = r.mul(0.00019857813f).add(0.0013933687f);
    p = fma(p, r, 0.008333361f);
    p = fma(p, r, 0.041666463f);
    p = fma(p, r, 0.16666667f);
    p = fma(p, r, 0.5f);
    return p.mul(r).fma(r, r).add(1f);
  }

  private static FloatVector fma(FloatVector a, FloatVector b, float c) {
    return a.fma(b, FloatVector.broadcast(Lanes.F, c));
  }

  /** 2^n for the n in the lowest nine bits; what stands above them is shifted out. */
  private static FloatVector power(IntVector n) {
    return n.lanewise(VectorOperators.LSHL, 23).add(127 << 23).reinterpretAsFloats();
  }

  /** {@code erfc(z) e^(z²) = t p(t)} for z ≥ 0, with t = 1 / (1 + z / 2). */
  static FloatVector erfcFactor(FloatVector z) {
    FloatVector one = FloatVector.broadcast(Lanes.F, 1);
    FloatVector t = one.div(z.mul(0.5f).add(1f));
    FloatVector p = t.mul(-0.059364915f).add(0.28601897f);
    p = fma(p, t, -0.49018937f);
    p = fma(p, t, 0.28148568f);
    p = fma(p, t, -0.028978594f);
    p = fma(p, t, 0.20368101f);
    p = fma(p, t, 0.24285306f);
    p = fma(p, t, 0.28240967f);
    p = fma(p, t, 0.28208447f);
    return p.mul(t);
  }
}
