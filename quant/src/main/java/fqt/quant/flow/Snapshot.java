package fqt.quant.flow;

import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.tensor.Tensor;
import java.util.IdentityHashMap;
import java.util.Map;

/** What the norms and linears of a layer are made of at some time, to go back to it. */
public final class Snapshot {
  private final Map<Module, Tensor> weights = new IdentityHashMap<>();
  private final Map<Module, Tensor> biases = new IdentityHashMap<>();

  private Snapshot() {}

  /**
   * {@return the layer as it is; its tensors are not copied}
   *
   * @param layer the layer; its norms and linears are remembered
   */
  public static Snapshot of(Module layer) {
    Snapshot snapshot = new Snapshot();
    layer.visit(
        (path, module) -> {
          if (ScaleFold.canSet(module)) {
            snapshot.weights.put(module, module.parameters().get("weight"));
            snapshot.biases.put(module, module.parameters().get("bias"));
          }
        });
    return snapshot;
  }

  /** Gives all modules the weights and biases that they had. */
  public void restore() {
    weights.forEach(
        (module, weight) -> ScaleFold.setParameters(module, weight, biases.get(module)));
  }
}
