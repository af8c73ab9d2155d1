package fqt.quant;

import fqt.nn.Linear;
import fqt.tensor.DType;
import fqt.tensor.Tensor;

/** A linear that computes on 8-bit integers of both sides, added up exactly. */
public final class Int8Linear extends ScaledLinear {
  /**
   * A linear over codes.
   *
   * @param weight I8 [outputs, inputs]
   * @param scales F32, F16 or BF16 [outputs, 1]
   * @param bias [outputs], any float type, or null
   * @param activations symmetric quantizer of the input to such codes, by row or by tensor
   * @throws IllegalArgumentException if types or shapes do not fit
   */
  public Int8Linear(Tensor weight, Tensor scales, Tensor bias, Quantizer activations) {
    super(DType.I8, weight, scales, bias, activations);
  }

  /**
   * {@return a linear rounded to nearest, one scale an output} Inputs get one scale a token.
   *
   * @param linear the linear to round
   */
  public static Int8Linear fromModule(Linear linear) {
    return (Int8Linear) Scheme.w8a8Int8().quantize(linear);
  }
}
