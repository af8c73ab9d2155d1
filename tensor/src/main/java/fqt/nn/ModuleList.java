package fqt.nn;

import fqt.tensor.Tensor;
import java.util.List;

/** Modules under the names 0, 1, 2 …; their owner decides which of them run. */
public final class ModuleList extends Module {
  /**
   * A list of the given modules.
   *
   * @param modules become the children 0, 1, 2 … in this order
   */
  public ModuleList(List<? extends Module> modules) {
    int index = 0;
    for (Module module : modules) {
      child(Integer.toString(index++), module);
    }
  }

  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    throw new UnsupportedOperationException("a list of modules does not run by itself");
  }
}
