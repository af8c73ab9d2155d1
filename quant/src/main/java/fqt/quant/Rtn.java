package fqt.quant;

import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.Target;
import fqt.quant.report.QuantListener;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Round to nearest: quantizes every weight by itself, without calibration.
 *
 * @param rules scheme of each linear
 * @param listener hears what became of each linear
 */
public record Rtn(LinearRules<Scheme> rules, QuantListener listener) {
  /**
   * Quantizes all layers, heard by nobody.
   *
   * @param layers decoder layers, in order; the quantized linears take their places inside them
   * @param rules scheme of each linear
   */
  public static void quantize(List<? extends Module> layers, LinearRules<Scheme> rules) {
    Rtn rtn = new Rtn(rules, QuantListener.NONE);
    for (int i = 0; i < layers.size(); i++) {
      rtn.quantizeLayer("layers." + i, layers.get(i), Crew.alone(Device.CPU));
    }
  }

  /**
   * Quantizes one layer. The quantized linears take the places of the old ones and belong to the
   * scope that is current now.
   *
   * @param prefix path of the layer, for names in reports and rules
   * @param layer the layer; its linears are replaced
   * @param member whose share of the linears is done here; all members call this together
   * @throws IllegalArgumentException if a weight holds values that are not finite
   */
  public void quantizeLayer(String prefix, Module layer, Crew.Member member) {
    List<Target> targets = Target.of(prefix, layer, rules::includes);
    // One by one where there is nobody to wait for: the next needs the memory.
    int step = member.size() == 1 ? 1 : Math.max(1, targets.size());
    for (int from = 0; from < targets.size(); from += step) {
      quantize(targets.subList(from, from + step), member);
    }
  }

  private void quantize(List<Target> targets, Crew.Member member) {
    try (Scope scope = Scope.open()) {
      Map<Integer, Gptq.Solved> own = new TreeMap<>();
      for (int i = 0; i < targets.size(); i++) {
        if (member.does(i)) {
          Scheme scheme = rules.choice(targets.get(i).name());
          own.put(i, Gptq.solve(targets.get(i), scheme, Factor.NONE, System.nanoTime()));
        }
      }
      List<Gptq.Solved> solved = member.gather(own, targets.size(), Gptq.Solved::map);
      Gptq.settle(targets, solved, member, listener, scope);
    }
  }
}
