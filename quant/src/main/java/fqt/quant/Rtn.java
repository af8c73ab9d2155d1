package fqt.quant;

import fqt.nn.Module;
import fqt.quant.flow.Target;
import fqt.quant.report.QuantListener;
import fqt.quant.report.Reports;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Scope;
import java.util.List;

/** Round to nearest: quantizes every weight by itself, without calibration. */
public final class Rtn {
  private Rtn() {}

  /** Quantizes all layers. */
  public static void quantize(List<? extends Module> layers, LinearRules<Scheme> rules) {
    for (int i = 0; i < layers.size(); i++) {
      quantizeLayer("layers." + i, layers.get(i), rules, QuantListener.NONE);
    }
  }

  /**
   * Quantizes one layer. The quantized linears take the places of the old ones and belong to the
   * scope that is current now.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @throws IllegalArgumentException if a weight holds values that are not finite
   */
  public static void quantizeLayer(
      String prefix, Module layer, LinearRules<Scheme> rules, QuantListener listener) {
    for (Target target : Target.of(prefix, layer, rules::includes)) {
      Scheme scheme = rules.choice(target.name());
      Factor none = Factor.missing(0, List.of());
      try (Scope scope = Scope.open()) {
        Gptq.Solved solved = Gptq.solve(target, scheme, none, System.nanoTime());
        solved.settle(target, scheme, scope);
        Reports.linear(solved.report(), listener);
      }
    }
  }
}
