package fqt.models;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.List;

/** {@code fc2(act(fc1(x)))}. */
final class PlainMlp extends Module {
  private final UnaryOp activation;
  private final Child first;
  private final Child second;

  PlainMlp(UnaryOp activation, Module first, Module second) {
    this.activation = activation;
    this.first = child("fc1", first);
    this.second = child("fc2", second);
  }

  @Override
  public List<Module> inputReaders() {
    return List.of(first.get());
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor hidden = Ops.unary(activation, first.apply(input, args));
      return scope.keep(second.apply(hidden, args));
    }
  }
}
