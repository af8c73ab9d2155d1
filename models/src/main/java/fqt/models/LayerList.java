package fqt.models;

import fqt.nn.Module;
import fqt.tensor.Scope;
import java.util.AbstractList;
import java.util.RandomAccess;
import java.util.function.IntFunction;

/** Layers that are loaded when first asked for and freed when released. */
final class LayerList extends AbstractList<Module> implements RandomAccess {
  private final IntFunction<Module> loader;
  private final Module[] layers;
  private final Scope.Holding[] holdings;

  LayerList(int count, IntFunction<Module> loader) {
    this.loader = loader;
    this.layers = new Module[count];
    this.holdings = new Scope.Holding[count];
  }

  @Override
  public Module get(int index) {
    if (layers[index] == null) {
      try (Scope scope = Scope.open()) {
        layers[index] = loader.apply(index);
        holdings[index] = scope.handOver();
      }
    }
    return layers[index];
  }

  @Override
  public int size() {
    return layers.length;
  }

  /** Frees a layer; the next {@link #get} loads it again. */
  void release(int index) {
    if (layers[index] != null) {
      layers[index] = null;
      holdings[index].close();
      holdings[index] = null;
    }
  }

  void releaseAll() {
    for (int i = 0; i < layers.length; i++) {
      release(i);
    }
  }
}
