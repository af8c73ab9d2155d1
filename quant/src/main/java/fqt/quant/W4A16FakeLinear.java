package fqt.quant;

import fqt.nn.Linear;

/** What {@link QuantLinear} computes with 4 bits, in floating point. */
public final class W4A16FakeLinear {
  private W4A16FakeLinear() {}

  /** Groups of 128. */
  public static FakeQuantLinear fromModule(Linear linear) {
    return FakeQuantLinear.fromModule(linear, Scheme.weightOnly(4, 128));
  }
}
