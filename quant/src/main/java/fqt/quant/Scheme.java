package fqt.quant;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What becomes of a linear: how its weight is quantized and, if at all, its input.
 *
 * @param weights quantizer of the weight
 * @param activations quantizer of the input, fitted anew to every input; null leaves it in floating
 *     point
 * @param linearType which kind of linear is put in
 */
public record Scheme(Quantizer weights, Quantizer activations, LinearType linearType) {
  private static final Pattern NAME = Pattern.compile("w([2-8])a([2-8]|16)");

  /**
   * A scheme whose linears compute on codes where they can.
   *
   * @param weights of the weight, [outputs, inputs]
   * @param activations of the input, [tokens, inputs], or null to leave it in floating point
   */
  public Scheme(Quantizer weights, Quantizer activations) {
    this(weights, activations, LinearType.COMPUTING);
  }

  /**
   * {@return a scheme by its name}
   *
   * @param name {@code wBaC} with B bits of weight and C of activation, 16 for floating point;
   *     {@code w8a8-int8} and {@code w8a8-fp8}
   * @param groupSize inputs that share a scale, −1 for all; 8-bit activations with 8-bit weights
   *     always have one scale an output
   * @throws IllegalArgumentException if there is no such scheme
   */
  public static Scheme parse(String name, long groupSize) {
    Matcher matcher = NAME.matcher(name);
    if (name.equals("w8a8-fp8")) {
      return w8a8Fp8();
    }
    if (name.equals("w8a8-int8") || name.equals("w8a8")) {
      return w8a8Int8();
    }
    if (!matcher.matches() || groupSize == 0 || groupSize < -1) {
      throw new IllegalArgumentException(
          "there is no scheme '%s' with groups of %d; expected w4a16, w8a16, w3a16, w2a16,"
                  .formatted(name, groupSize)
              + " w8a8-int8, w8a8-fp8, or wBaC with bits B from 2 to 8 and C from 2 to 8 or 16");
    }
    Scheme scheme = weightOnly(Integer.parseInt(matcher.group(1)), groupSize);
    int bits = Integer.parseInt(matcher.group(2));
    return bits == 16 ? scheme : scheme.withActivations(perToken(bits));
  }

  /**
   * {@return a scheme of symmetric weights of some bits in groups, with inputs in floating point}
   *
   * @param bits width of a code, 2 to 8
   * @param groupSize inputs that share a scale; −1 for one scale a row
   */
  public static Scheme weightOnly(int bits, long groupSize) {
    return new Scheme(Quantizer.integer(bits, Blocks.perGroup(groupSize)), null);
  }

  /** {@return a scheme of 8-bit integers on both sides, one scale an output and one a token} */
  public static Scheme w8a8Int8() {
    return new Scheme(Quantizer.integer(8, Blocks.PER_ROW), perToken(8));
  }

  /** {@return a scheme of 8-bit floats on both sides, one scale an output and one a token} */
  public static Scheme w8a8Fp8() {
    return new Scheme(Quantizer.fp8(Blocks.PER_ROW), Quantizer.fp8(Blocks.PER_ROW));
  }

  /** Servers quantize a token so that its largest magnitude is the largest code. */
  private static Quantizer perToken(int bits) {
    return Quantizer.integer(bits, Blocks.PER_ROW).withRule(ScaleRule.RESTRICTED_RANGE);
  }

  /**
   * {@return the same with another quantizer of the weight}
   *
   * @param quantizer of the weight, [outputs, inputs]
   */
  public Scheme withWeights(Quantizer quantizer) {
    return new Scheme(quantizer, activations, linearType);
  }

  /**
   * {@return the same with another quantizer of the input, or none}
   *
   * @param quantizer of the input, [tokens, inputs], or null to leave it in floating point
   */
  public Scheme withActivations(Quantizer quantizer) {
    return new Scheme(weights, quantizer, linearType);
  }

  /**
   * {@return the same with another kind of linear}
   *
   * @param type what takes the place of a linear
   */
  public Scheme withLinearType(LinearType type) {
    return new Scheme(weights, activations, type);
  }

  /**
   * {@return the same with weights in groups of another size; −1 is one scale a row}
   *
   * @param groupSize inputs that share a scale; −1 for one scale a row
   */
  public Scheme withGroupSize(long groupSize) {
    return withWeights(weights.withBlocks(Blocks.perGroup(groupSize)));
  }

  /** {@return whether a linear of this scheme computes on 8-bit codes of both sides} */
  public boolean isScaled() {
    return activations != null
        && activations.codes() == weights.codes()
        && ScaledLinear.isCodeOfWholeRows(activations)
        && ScaledLinear.isCodeOfWholeRows(weights);
  }

  /**
   * {@return whether a linear of this scheme keeps its weight packed and its input in floating
   * point}
   */
  public boolean isPacked() {
    return activations == null && weights.isIntegerByRow();
  }

  /**
   * Rounds a linear to nearest.
   *
   * @param linear the linear, which is left as it is
   * @return the linear of this scheme, in the current scope
   */
  public Module quantize(Linear linear) {
    try (Scope scope = Scope.open()) {
      QuantizedWeight weight = weights.quantize(Ops.to(Ops.contiguous(linear.weight()), DType.F32));
      return Module.keep(scope, linearType.of(weight, linear.bias(), this));
    }
  }
}
