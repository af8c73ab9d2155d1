package fqt.tensor.cpu;

import fqt.tensor.BinaryOp;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.lang.foreign.MemorySegment;

/** Scalar twin of the pointwise kernels: operations element by element. */
final class ScalarPointwise {
  private ScalarPointwise() {}

  static void binary(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    MemorySegment left = a.segment();
    MemorySegment right = b.segment();
    MemorySegment result = out.segment();
    long period = b.count();
    for (long i = 0; i < a.count(); i++) {
      float value = apply(op, Element.f32(left, i), Element.f32(right, i % period));
      Element.f32(result, i, value);
    }
  }

  static void unary(UnaryOp op, Tensor x, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    for (long i = 0; i < x.count(); i++) {
      Element.f32(to, i, (float) apply(op, Element.f32(from, i)));
    }
  }

  static void affine(Tensor x, float scale, float shift, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    for (long i = 0; i < x.count(); i++) {
      Element.f32(to, i, Math.fma(scale, Element.f32(from, i), shift));
    }
  }

  static void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    MemorySegment gates = gate.segment();
    MemorySegment ups = up.segment();
    MemorySegment to = out.segment();
    for (long i = 0; i < gate.count(); i++) {
      Element.f32(to, i, (float) apply(op, Element.f32(gates, i)) * Element.f32(ups, i));
    }
  }

  static float apply(BinaryOp op, float a, float b) {
    return switch (op) {
      case ADD -> a + b;
      case SUBTRACT -> a - b;
      case MULTIPLY -> a * b;
      case DIVIDE -> a / b;
      case MIN -> Math.min(a, b);
      case MAX -> Math.max(a, b);
    };
  }

  static double apply(UnaryOp op, double x) {
    return switch (op) {
      case ABS -> Math.abs(x);
      case EXP -> Math.exp(x);
      case SQRT -> Math.sqrt(x);
      case SIGMOID -> sigmoid(x);
      case SILU -> x * sigmoid(x);
      case GELU -> x * 0.5 * (1 + Erf.erf(x * Math.sqrt(0.5)));
      case GELU_TANH -> x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x));
      case QUICK_GELU -> x * sigmoid(1.702 * x);
      case RELU -> Math.max(x, 0);
    };
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }
}
