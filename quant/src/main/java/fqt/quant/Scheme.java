package fqt.quant;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Scope;

/**
 * What becomes of a linear: how its weight is quantized and, if at all, its input.
 *
 * @param weights quantizer of the weight
 * @param activations quantizer of the input, applied anew to every input; null leaves it in
 *     floating point
 */
public record Scheme(Quantizer weights, Quantizer activations) {
  /** Packed weights of some bits in groups; group size −1 is one scale a row. */
  public static Scheme weightOnly(int bits, long groupSize) {
    return new Scheme(
        Quantizer.integer(bits, Blocks.perGroup(groupSize)).withScaleType(DType.F16), null);
  }

  /** The same with another quantizer of the weight. */
  public Scheme withWeights(Quantizer quantizer) {
    return new Scheme(quantizer, activations);
  }

  /** The linear that computes with a quantized weight, in place of the original. */
  Module linear(QuantizedWeight weight, Linear original) {
    return new QuantLinear(weight.pack(), original.bias());
  }

  /** Lets a linear's tensors outlive a scope. */
  static <M extends Module> M keep(Scope scope, M linear) {
    linear.parameters().values().forEach(scope::keep);
    return linear;
  }
}
