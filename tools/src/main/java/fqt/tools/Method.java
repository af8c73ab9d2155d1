package fqt.tools;

import fqt.quant.Scheme;
import fqt.quant.SmoothQuantConfig;
import fqt.quant.rules.LinearRules;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** How the main job chooses scales and integers: perhaps smoothing, then rounding. */
enum Method {
  /** Second-order rounding (Frantar et al. 2022). */
  GPTQ(Smoothing.NONE, true),
  /** Round to nearest. */
  RTN(Smoothing.NONE, false),
  /** Scales moved for the weights' sake (Lin et al. 2023), then round to nearest. */
  AWQ(Smoothing.AWQ, false),
  /** Scales moved for weights and activations (Xiao et al. 2022), then round to nearest. */
  SMOOTHQUANT(Smoothing.SMOOTHQUANT, false),
  /** AWQ's scales, then GPTQ. */
  AWQ_GPTQ(Smoothing.AWQ, true),
  /** SmoothQuant's scales, then GPTQ. */
  SMOOTHQUANT_GPTQ(Smoothing.SMOOTHQUANT, true);

  /** What happens before the rounding. */
  enum Smoothing {
    NONE,
    AWQ,
    SMOOTHQUANT
  }

  /** What is moved first. */
  final Smoothing smoothing;

  /** Whether GPTQ rounds, rather than round to nearest. */
  final boolean secondOrder;

  Method(Smoothing smoothing, boolean secondOrder) {
    this.smoothing = smoothing;
    this.secondOrder = secondOrder;
  }

  /** Whether the method looks at what flows through the model. */
  boolean calibrates() {
    return this != RTN;
  }

  /**
   * Choices of the search for scales, or null if there is none. GPTQ's integers need no clip search
   * before them.
   */
  SmoothQuantConfig search(LinearRules<Scheme> rules) {
    return switch (smoothing) {
      case NONE -> null;
      case AWQ -> SmoothQuantConfig.awq().withRules(rules).withClip(!secondOrder);
      case SMOOTHQUANT -> SmoothQuantConfig.smoothQuant().withRules(rules);
    };
  }

  /** The name on the command line, such as {@code awq+gptq}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '+');
  }

  /** All names, for help and messages. */
  static String names() {
    return Arrays.stream(values()).map(Method::toString).collect(Collectors.joining(", "));
  }

  /** Reads a name. */
  static final class Converter implements ITypeConverter<Method> {
    @Override
    public Method convert(String text) {
      for (Method method : values()) {
        if (method.toString().equals(text)) {
          return method;
        }
      }
      throw new TypeConversionException("'" + text + "' is none of " + names());
    }
  }
}
