package fqt.tensor.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
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

  private VectorMath() {}

  /** eˣ within 1 unit in the last place; overflows to infinity, underflows gradually to 0. */
  static FloatVector exp(FloatVector x) {
    FloatVector bounded = x.max(-105f).min(89f);
    FloatVector n = bounded.mul(LOG2_E).add(0x1.8p23f).sub(0x1.8p23f);
    FloatVector r = n.fma(FloatVector.broadcast(Lanes.F, -LN2_HIGH), bounded);
    r = n.fma(FloatVector.broadcast(Lanes.F, -LN2_LOW), r);
    // e^r = 1 + r + r² p(r) for |r| ≤ ln 2 / 2
    FloatVector p = r.mul(0.00019857813f).add(0.0013933687f);
    p = fma(p, r, 0.008333361f);
    p = fma(p, r, 0.041666463f);
    p = fma(p, r, 0.16666667f);
    p = fma(p, r, 0.5f);
    p = p.mul(r).fma(r, r).add(1f);
    // 2^n in two factors: one alone would overflow before the result does.
    IntVector exponent = (IntVector) n.convertShape(VectorOperators.F2I, Lanes.I, 0);
    IntVector lower = exponent.lanewise(VectorOperators.ASHR, 1);
    return p.mul(power(lower)).mul(power(exponent.sub(lower)));
  }

  private static FloatVector fma(FloatVector a, FloatVector b, float c) {
    return a.fma(b, FloatVector.broadcast(Lanes.F, c));
  }

  private static FloatVector power(IntVector exponent) {
    return exponent.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
  }

  /** 1 / (1 + e⁻ˣ). */
  static FloatVector sigmoid(FloatVector x) {
    return FloatVector.broadcast(Lanes.F, 1).div(exp(x.neg()).add(1f));
  }

  /** x · sigmoid(x). */
  static FloatVector silu(FloatVector x) {
    return x.div(exp(x.neg()).add(1f));
  }

  /** x · sigmoid(1.702 x). */
  static FloatVector quickGelu(FloatVector x) {
    return x.div(exp(x.mul(-1.702f)).add(1f));
  }

  /** GELU with the tanh approximation; 1 + tanh(y) = 2 sigmoid(2 y). */
  static FloatVector geluTanh(FloatVector x) {
    FloatVector cubic = x.mul(x).mul(0.044715f).mul(x).add(x);
    return x.div(exp(cubic.mul(-1.5957691f)).add(1f));
  }

  /** GELU: x Φ(x) with Φ(x) = erfc(−x / √2) / 2. */
  static FloatVector gelu(FloatVector x) {
    FloatVector z = x.abs().mul(0.70710678f);
    FloatVector tail = erfc(z).mul(0.5f);
    VectorMask<Float> negative = x.lt(0f);
    return x.mul(tail.neg().add(1f).blend(tail, negative));
  }

  /** erfc(z) for z ≥ 0: t e^(−z²) p(t), with t = 1 / (1 + z / 2). */
  private static FloatVector erfc(FloatVector z) {
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
    // z² is rounded; its error, found with a fused multiply-add, corrects the exponential.
    FloatVector bounded = z.min(20f);
    FloatVector square = bounded.mul(bounded);
    FloatVector error = bounded.fma(bounded, square.neg());
    FloatVector gauss = exp(square.neg());
    return gauss.sub(gauss.mul(error)).mul(t).mul(p);
  }
}
