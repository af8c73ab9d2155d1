package fqt.quant;

import fqt.nn.Linear;

/** What {@link Int8Linear} computes, in floating point: 8-bit weights and activations. */
public final class W8A8FakeLinear {
  private W8A8FakeLinear() {}

  /**
   * {@return a linear rounded to 8 bits on both sides, simulated, one scale an output and one a
   * token}
   *
   * @param linear the linear to round
   */
  public static FakeQuantLinear fromModule(Linear linear) {
    return FakeQuantLinear.fromModule(linear, Scheme.w8a8Int8());
  }
}
