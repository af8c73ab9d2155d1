package fqt.models;

import fqt.nn.Module;
import fqt.tensor.Scope;
import java.util.AbstractList;
import java.util.RandomAccess;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.IntFunction;

/**
 * Layers that are loaded when first asked for and freed when released. Whoever asks for one usually
 * wants the next one soon: it can be brought meanwhile by another thread.
 */
final class LayerList extends AbstractList<Module> implements RandomAccess {
  private final IntFunction<Module> loader;
  private final boolean ahead;
  private final Loaded[] layers;
  private CompletableFuture<Loaded> next;
  private int nextIndex = -1;

  private record Loaded(Module module, Scope.Holding holding) {}

  /**
   * No layer yet.
   *
   * @param ahead whether loading a layer also begins to load the next one
   */
  LayerList(int count, IntFunction<Module> loader, boolean ahead) {
    this.loader = loader;
    this.ahead = ahead;
    this.layers = new Loaded[count];
  }

  @Override
  public Module get(int index) {
    if (layers[index] == null) {
      if (index == nextIndex) {
        arrive();
      } else {
        layers[index] = load(index);
      }
      if (ahead && index + 1 < layers.length && layers[index + 1] == null && next == null) {
        nextIndex = index + 1;
        next = new CompletableFuture<>();
        next.completeAsync(() -> load(index + 1), LayerList::start);
      }
    }
    return layers[index].module();
  }

  private static void start(Runnable load) {
    Thread.ofPlatform().name("next layer").daemon().start(load);
  }

  private Loaded load(int index) {
    try (Scope scope = Scope.open()) {
      Module layer = loader.apply(index);
      return new Loaded(layer, scope.handOver());
    }
  }

  /** Waits for the layer that another thread is loading. */
  private void arrive() {
    int index = nextIndex;
    CompletableFuture<Loaded> coming = next;
    next = null;
    nextIndex = -1;
    try {
      layers[index] = coming.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException ours) {
        throw ours;
      }
      throw e;
    }
  }

  @Override
  public int size() {
    return layers.length;
  }

  /** Frees a layer; the next {@link #get} loads it again. */
  void release(int index) {
    if (index == nextIndex) {
      arrive();
    }
    if (layers[index] != null) {
      layers[index].holding().close();
      layers[index] = null;
    }
  }

  void releaseAll() {
    for (int i = 0; i < layers.length; i++) {
      release(i);
    }
  }
}
