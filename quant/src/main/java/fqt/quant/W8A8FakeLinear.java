package fqt.quant;

import fqt.nn.Linear;

/** What {@link Int8Linear} computes, in floating point: 8-bit weights and activations. */
public final class W8A8FakeLinear {
  private W8A8FakeLinear() {}

  /** One scale an output, one a token. */
  public static FakeQuantLinear fromModule(Linear linear) {
    return FakeQuantLinear.fromModule(linear, Scheme.w8a8Int8());
  }
}
