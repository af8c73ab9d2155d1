package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Tensor;

/** Which quantized linear takes the place of a linear. */
@FunctionalInterface
public interface LinearType {
  /**
   * The one that computes on codes, {@link QuantLinear}, {@link Int8Linear} or {@link Fp8Linear},
   * where there is one for the scheme, and {@link FakeQuantLinear} elsewhere.
   */
  LinearType COMPUTING = LinearType::computing;

  /** {@link FakeQuantLinear} always. */
  LinearType FAKE =
      (weight, bias, scheme) -> new FakeQuantLinear(weight.dequantize(), bias, scheme);

  /**
   * Makes the linear of a quantized weight, in the current scope.
   *
   * @param weight codes and scales
   * @param bias [outputs], or null
   * @param scheme what the weight went through, and what inputs will
   * @return the linear, which may keep parts of the weight
   */
  Module of(QuantizedWeight weight, Tensor bias, Scheme scheme);

  private static Module computing(QuantizedWeight weight, Tensor bias, Scheme scheme) {
    if (scheme.isPacked()) {
      return new QuantLinear(weight.pack(), bias);
    }
    return scheme.isScaled()
        ? ScaledLinear.of(weight, bias, scheme.activations())
        : FAKE.of(weight, bias, scheme);
  }
}
