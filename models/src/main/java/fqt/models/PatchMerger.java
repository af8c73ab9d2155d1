package fqt.models;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.nn.ModuleList;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.List;

/** Joins the patches of a square into one token: norm, concatenation, two linears with a GELU. */
final class PatchMerger extends Module {
  private final long features;
  private final Child norm;
  private final Child first;
  private final Child activation;
  private final Child second;

  /**
   * A merger.
   *
   * @param features of the patches of a square together
   */
  PatchMerger(long features, Module norm, Module first, Module second) {
    this.features = features;
    this.norm = child("ln_q", norm);
    // Numbered as in checkpoints, where the activation counts.
    ModuleList mlp = new ModuleList(List.of(first, new Gelu(), second));
    child("mlp", mlp);
    this.first = mlp.place("0");
    this.activation = mlp.place("1");
    this.second = mlp.place("2");
  }

  /** Input F32 [patches, hidden], squares together; output F32 [squares, output]. */
  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor squares = norm.apply(input, args).reshape(-1, features);
      Tensor hidden = activation.apply(first.apply(squares, args), args);
      return scope.keep(second.apply(hidden, args));
    }
  }

  /** The activation as a module. */
  private static final class Gelu extends Module {
    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      return Ops.unary(UnaryOp.GELU, input);
    }
  }
}
