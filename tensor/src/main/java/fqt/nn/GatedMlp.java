package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.List;

/** {@code down(act(gate(x)) · up(x))}: the gated feed-forward block (Shazeer 2020). */
public final class GatedMlp extends Module {
  private final UnaryOp activation;
  private final long width;
  private final Child gate;
  private final Child up;
  private final Child down;

  /**
   * A block of the given parts.
   *
   * @param activation applied to the gate
   * @param width outputs of gate and up, inputs of down
   * @param gate gate_proj
   * @param up up_proj
   * @param down down_proj
   */
  public GatedMlp(UnaryOp activation, long width, Module gate, Module up, Module down) {
    this.activation = activation;
    this.width = width;
    this.gate = child("gate_proj", gate);
    this.up = child("up_proj", up);
    this.down = child("down_proj", down);
  }

  @Override
  public List<Module> inputReaders() {
    return List.of(gate.get(), up.get());
  }

  @Override
  public List<ScaleFold> scaleFolds() {
    return List.of(ScaleFold.of(up.get(), width, List.of(down.get())));
  }

  /** Whether this is just three linears without bias that nobody looks at. */
  boolean isPlain() {
    return !hasHooks() && isPlain(gate.get()) && isPlain(up.get()) && isPlain(down.get());
  }

  private static boolean isPlain(Module module) {
    return module instanceof Linear linear && linear.bias() == null && !linear.hasHooks();
  }

  UnaryOp activation() {
    return activation;
  }

  /** The weights of gate, up and down of a plain block. */
  List<Tensor> weights() {
    return List.of(gate, up, down).stream().map(c -> ((Linear) c.get()).weight()).toList();
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor mixed = Ops.gated(activation, gate.apply(input, args), up.apply(input, args));
      return scope.keep(down.apply(mixed, args));
    }
  }
}
