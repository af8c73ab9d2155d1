package fqt.quant;

import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.Target;
import fqt.quant.report.LinearReport;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * A linear whose codes were chosen.
 *
 * @param number of the linear among those that were quantized together
 */
record Solved(int number, QuantizedWeight weight, LinearReport report) {
  /** Lets the codes outlive a scope. */
  Solved keep(Scope scope) {
    scope.keepAll(weight.codes(), weight.scale(), weight.zero(), weight.groupIndex());
    return this;
  }

  /** Puts the quantized linear into its place. */
  Module settle(Target target, Scheme scheme) {
    Module linear = scheme.linearType().of(weight, target.linear().bias(), scheme);
    target.place().set(linear);
    return linear;
  }

  /** What all members of a crew have solved, by number, on this member's device. */
  static List<Solved> share(Crew.Member member, List<Solved> own, int count) {
    List<Solved> all = new ArrayList<>();
    for (List<Solved> some : member.exchange(own)) {
      some.forEach(solved -> all.add(some == own ? solved : solved.copy(member.device())));
    }
    member.done();
    all.sort(Comparator.comparingInt(Solved::number));
    if (all.size() != count) {
      throw new IllegalStateException(all.size() + " of " + count + " linears were solved");
    }
    return all;
  }

  private Solved copy(Device device) {
    return new Solved(number, weight.copy(device), report);
  }
}
