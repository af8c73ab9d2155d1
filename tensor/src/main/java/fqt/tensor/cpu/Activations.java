package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.F;
import static fqt.tensor.cpu.Lanes.LENGTH;

import fqt.tensor.UnaryOp;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/**
 * The functions that need an exponential, on runs that stay in the first-level cache: the argument
 * of the exponential, the exponential, and what is made of it are three small loops. One loop with
 * all three is more than C2 inlines reliably, and what it does not inline it boxes.
 *
 * <p>Arrays are whole vectors long, so that the loops have no tails.
 */
final class Activations {
  private static final int CAPACITY = Carrier.CAPACITY;

  private final float[] x = new float[CAPACITY];
  private final float[] y = new float[CAPACITY];

  /** {@code out[0..n) = op(x[0..n))}; x and out are byte offsets into their segments. */
  void run(UnaryOp op, MemorySegment from, long start, MemorySegment to, long out, int n) {
    for (int i = 0; i < n; i += CAPACITY) {
      long at = (long) i * Float.BYTES;
      int length = Math.min(CAPACITY, n - i);
      MemorySegment.copy(from, Element.FLOAT, start + at, x, 0, length);
      apply(op, length);
      MemorySegment.copy(y, 0, to, Element.FLOAT, out + at, length);
    }
  }

  /** {@code y = op(x)}. */
  private void apply(UnaryOp op, int n) {
    switch (op) {
      case EXP -> {
        scale(x, 1, y, n);
        VectorMath.exp(y, n);
      }
      case SIGMOID -> {
        scale(x, -1, y, n);
        VectorMath.exp(y, n);
        invert(y, n);
      }
      case SILU -> {
        scale(x, -1, y, n);
        VectorMath.exp(y, n);
        gate(x, y, n);
      }
      case QUICK_GELU -> {
        scale(x, -1.702f, y, n);
        VectorMath.exp(y, n);
        gate(x, y, n);
      }
      case GELU_TANH -> {
        // 1 + tanh(y) = 2 sigmoid(2 y)
        cubic(x, y, n);
        VectorMath.exp(y, n);
        gate(x, y, n);
      }
      case GELU -> {
        square(x, y, n);
        VectorMath.exp(y, n);
        normal(x, y, n);
      }
      case ABS, SQRT, RELU -> throw new AssertionError(op);
    }
  }

  private static void scale(float[] x, float factor, float[] y, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector.fromArray(F, x, i).mul(factor).intoArray(y, i);
    }
  }

  /** {@code y = 1 / (1 + y)}. */
  private static void invert(float[] y, int n) {
    FloatVector one = FloatVector.broadcast(F, 1);
    for (int i = 0; i < n; i += LENGTH) {
      one.div(FloatVector.fromArray(F, y, i).add(1f)).intoArray(y, i);
    }
  }

  /** {@code y = x / (1 + y)}. */
  private static void gate(float[] x, float[] y, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector divisor = FloatVector.fromArray(F, y, i).add(1f);
      FloatVector.fromArray(F, x, i).div(divisor).intoArray(y, i);
    }
  }

  /** {@code y = −2 √(2/π) (x + 0.044715 x³)}. */
  private static void cubic(float[] x, float[] y, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector value = FloatVector.fromArray(F, x, i);
      FloatVector cube = value.mul(value).mul(0.044715f).mul(value);
      cube.add(value).mul(-1.5957691f).intoArray(y, i);
    }
  }

  /** {@code y = −z²} with z = |x| / √2, at most 20. */
  private static void square(float[] x, float[] y, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector z = FloatVector.fromArray(F, x, i).abs().mul(0.70710678f).min(20f);
      z.mul(z).neg().intoArray(y, i);
    }
  }

  /** {@code y = x Φ(x)} with Φ(x) = erfc(−x / √2) / 2; y holds e^(−z²) before. */
  private static void normal(float[] x, float[] y, int n) {
    for (int i = 0; i < n; i += LENGTH) {
      FloatVector value = FloatVector.fromArray(F, x, i);
      FloatVector z = value.abs().mul(0.70710678f).min(20f);
      // z² was rounded; its error, found with a fused multiply-add, corrects the exponential.
      FloatVector error = z.fma(z, z.mul(z).neg());
      FloatVector gauss = FloatVector.fromArray(F, y, i);
      FloatVector tail = gauss.sub(gauss.mul(error)).mul(VectorMath.erfcFactor(z)).mul(0.5f);
      VectorMask<Float> negative = value.lt(0f);
      value.mul(tail.neg().add(1f).blend(tail, negative)).intoArray(y, i);
    }
  }
}
