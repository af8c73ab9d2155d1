package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * All experts of a mixture at once, where their device multiplies groups of rows by weights of
 * their own in one go: a launch for each step of the block instead of one for each expert.
 */
final class ExpertGroups {
  /** Pairs of token and expert that are in memory together, unless one expert has more. */
  private static final long MOST_ROWS = 32_768;

  private final UnaryOp activation;
  private final List<Tensor> gates;
  private final List<Tensor> ups;
  private final List<Tensor> downs;

  private ExpertGroups(
      UnaryOp activation, List<Tensor> gates, List<Tensor> ups, List<Tensor> downs) {
    this.activation = activation;
    this.gates = gates;
    this.ups = ups;
    this.downs = downs;
  }

  /** The experts as groups, or null if they are not all plain and alike. */
  static ExpertGroups of(List<Module.Child> experts) {
    List<Tensor> gates = new ArrayList<>();
    List<Tensor> ups = new ArrayList<>();
    List<Tensor> downs = new ArrayList<>();
    UnaryOp activation = null;
    for (Module.Child child : experts) {
      if (!(child.get() instanceof GatedMlp expert)
          || !expert.isPlain()
          || activation != null && activation != expert.activation()) {
        return null;
      }
      activation = expert.activation();
      List<Tensor> weights = expert.weights();
      gates.add(weights.get(0));
      ups.add(weights.get(1));
      downs.add(weights.get(2));
    }
    return new ExpertGroups(activation, gates, ups, downs);
  }

  /** Whether the device of the experts multiplies groups in one go. */
  boolean inOneGo() {
    return List.of(gates, ups, downs).stream().allMatch(Ops::groupsLinears);
  }

  /** Adds what the experts make of the tokens that are routed to them. */
  void run(Tensor input, ExpertRoutes routes, Tensor out) {
    long[] bounds = routes.bounds();
    int first = 0;
    while (first < gates.size()) {
      int last = first + 1;
      while (last < gates.size() && bounds[last + 1] - bounds[first] <= MOST_ROWS) {
        last++;
      }
      if (bounds[last] > bounds[first]) {
        run(first, last, input, routes, out);
      }
      first = last;
    }
  }

  private void run(int first, int last, Tensor input, ExpertRoutes routes, Tensor out) {
    try (Scope scope = Scope.open()) {
      Tensor tokens = routes.tokens(first, last);
      long[] bounds = Arrays.copyOfRange(routes.bounds(), first, last + 1);
      for (int i = bounds.length - 1; i >= 0; i--) {
        bounds[i] -= bounds[0];
      }
      Tensor rows = Ops.gatherRows(input, tokens);
      Tensor gate = Ops.groupedLinear(rows, bounds, gates.subList(first, last));
      Tensor up = Ops.groupedLinear(rows, bounds, ups.subList(first, last));
      Tensor mixed = Ops.gated(activation, gate, up);
      Tensor result = Ops.groupedLinear(mixed, bounds, downs.subList(first, last));
      Ops.scatterAddRows(result, tokens, routes.weights(first, last), out);
    }
  }
}
