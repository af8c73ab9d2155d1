package fqt.quant;

import fqt.nn.Linear;

/** What {@link QuantLinear} computes with 4 bits, in floating point. */
public final class W4A16FakeLinear {
  private W4A16FakeLinear() {}

  /**
   * {@return a linear rounded to 4 bits, simulated, one scale for 128 inputs of a row}
   *
   * @param linear the linear to round
   */
  public static FakeQuantLinear fromModule(Linear linear) {
    return FakeQuantLinear.fromModule(linear, Scheme.weightOnly(4, 128));
  }
}
