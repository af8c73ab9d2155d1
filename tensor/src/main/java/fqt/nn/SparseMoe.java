package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;

/**
 * Mixture of experts (Shazeer et al. 2017): a router picks {@code topK} experts for each token, and
 * the output is their sum, weighted by the router's softmax. A shared expert, where there is one,
 * sees every token and is scaled by the sigmoid of its own gate (Qwen2-MoE).
 *
 * <p>Only the tokens routed to an expert pass through it. For calibration, {@link #showAllTokens}
 * lets every expert see every token, while the output still comes from the real routing.
 */
public final class SparseMoe extends Module {
  /**
   * How tokens choose experts.
   *
   * @param topK experts a token
   * @param renormalize whether the weights of the chosen experts are scaled to sum to 1
   */
  public record Routing(long topK, boolean renormalize) {}

  private final Routing routing;
  private final Child gate;
  private final List<Child> experts;
  private final Child sharedExpert;
  private final Child sharedGate;
  private boolean showAllTokens;

  /**
   * A block of the given parts.
   *
   * @param routing how many experts a token gets, and how their outputs are weighted
   * @param gate the router, features → experts
   * @param experts features → features each
   * @param sharedExpert features → features, or null
   * @param sharedGate shared_expert_gate, features → 1, or null with the shared expert
   * @throws IllegalArgumentException unless a token gets at least one expert and at most all
   */
  public SparseMoe(
      Routing routing,
      Module gate,
      List<? extends Module> experts,
      Module sharedExpert,
      Module sharedGate) {
    if (routing.topK() < 1 || routing.topK() > experts.size()) {
      throw new IllegalArgumentException(
          "%d experts a token of %d".formatted(routing.topK(), experts.size()));
    }
    this.routing = routing;
    this.gate = child("gate", gate);
    this.experts = child("experts", new ModuleList(experts)).get().children();
    this.sharedExpert = sharedExpert == null ? null : child("shared_expert", sharedExpert);
    this.sharedGate = sharedGate == null ? null : child("shared_expert_gate", sharedGate);
  }

  /** {@return how many experts there are, the shared one not counted} */
  public int expertCount() {
    return experts.size();
  }

  /** {@return how tokens choose experts} */
  public Routing routing() {
    return routing;
  }

  /**
   * Lets every expert see every token, or only those routed to it. The output is the same either
   * way.
   *
   * @param show true for calibration
   */
  public void showAllTokens(boolean show) {
    showAllTokens = show;
  }

  /**
   * Lets every expert below a module see every token, until the registration is closed.
   *
   * @param root where to look for mixtures, itself included
   * @return restores the routing when closed
   */
  public static Registration showAllTokens(Module root) {
    List<SparseMoe> changed = new ArrayList<>();
    root.visit(
        (path, module) -> {
          if (module instanceof SparseMoe moe && !moe.showAllTokens) {
            moe.showAllTokens = true;
            changed.add(moe);
          }
        });
    return () -> changed.forEach(moe -> moe.showAllTokens = false);
  }

  /** The router, its neighbour for the shared expert, and the readers of every expert. */
  @Override
  public List<Module> inputReaders() {
    List<Module> readers = new ArrayList<>();
    readers.add(gate.get());
    experts.forEach(expert -> readers.addAll(expert.get().inputReaders()));
    if (sharedExpert != null) {
      readers.addAll(sharedExpert.get().inputReaders());
      readers.add(sharedGate.get());
    }
    return readers;
  }

  @Override
  public List<ScaleFold> scaleFolds() {
    List<ScaleFold> folds = new ArrayList<>();
    experts.forEach(expert -> folds.addAll(expert.get().scaleFolds()));
    if (sharedExpert != null) {
      folds.addAll(sharedExpert.get().scaleFolds());
    }
    return folds;
  }

  /** Input and output are F32 [tokens, features]. */
  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor out = Ops.full(input.device(), input.dtype(), 0, input.dim(0), input.dim(1));
      ExpertRoutes routes =
          ExpertRoutes.of(gate.apply(input, args), routing.topK(), routing.renormalize());
      ExpertGroups groups = showAllTokens ? null : ExpertGroups.of(experts);
      if (groups != null && groups.inOneGo()) {
        groups.run(input, routes, out);
      } else {
        runExperts(input, args, routes, out);
      }
      if (sharedExpert != null) {
        runShared(input, args, routes, out);
      }
      return scope.keep(out);
    }
  }

  private void runExperts(Tensor input, LayerArgs args, ExpertRoutes routes, Tensor out) {
    for (int e = 0; e < experts.size(); e++) {
      if (showAllTokens || routes.tokens(e).dim(0) > 0) {
        runExpert(e, input, args, routes, out);
      }
    }
  }

  private void runExpert(int e, Tensor input, LayerArgs args, ExpertRoutes routes, Tensor out) {
    try (Scope scope = Scope.open()) {
      Tensor tokens = routes.tokens(e);
      Tensor result;
      if (showAllTokens) {
        result = Ops.gatherRows(experts.get(e).apply(input, args), tokens);
      } else {
        result = experts.get(e).apply(Ops.gatherRows(input, tokens), args);
      }
      Ops.scatterAddRows(result, tokens, routes.weights(e), out);
    }
  }

  private void runShared(Tensor input, LayerArgs args, ExpertRoutes routes, Tensor out) {
    try (Scope scope = Scope.open()) {
      Tensor weight = Ops.unary(UnaryOp.SIGMOID, sharedGate.apply(input, args));
      Tensor result = sharedExpert.apply(input, args);
      Ops.scatterAddRows(result, routes.everyToken(), weight.reshape(-1), out);
    }
  }
}
