package fqt.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;

/** Layers come when they are asked for, the next one by another thread. */
class LayerListTest {
  private final Map<Integer, Thread> loaded = new ConcurrentHashMap<>();

  private Module load(int index) {
    loaded.put(index, Thread.currentThread());
    return new Linear(Ops.full(Device.CPU, DType.F32, index, 64, 64), null);
  }

  private static float first(Module layer) {
    return ((Linear) layer).weight().toFloats()[0];
  }

  @Test
  void theNextLayerIsLoadedByAnotherThread() {
    LayerList layers = new LayerList(3, this::load, true);
    for (int i = 0; i < 3; i++) {
      assertEquals(i, first(layers.get(i)));
    }
    assertSame(Thread.currentThread(), loaded.get(0));
    assertNotEquals(Thread.currentThread(), loaded.get(1));
    assertNotEquals(Thread.currentThread(), loaded.get(2));
    layers.releaseAll();
  }

  @Test
  void nothingIsLoadedUnaskedWhereThatIsNotWanted() {
    LayerList layers = new LayerList(3, this::load, false);
    Module layer = layers.get(1);
    assertSame(layer, layers.get(1));
    assertEquals(Map.of(1, Thread.currentThread()), loaded);
    layers.release(1);
    assertNotSame(layer, layers.get(1));
    layers.releaseAll();
  }

  @Test
  void everyLayerIsFreedWhetherAskedForOrNot() {
    long before = Backends.of(Device.CPU).liveBytes();
    LayerList layers = new LayerList(4, this::load, true);
    layers.get(0);
    layers.release(0);
    layers.get(2);
    layers.releaseAll();
    assertEquals(before, Backends.of(Device.CPU).liveBytes());
  }

  @Test
  void aLayerThatCannotBeLoadedFailsWhereItIsAskedFor() {
    LayerList layers =
        new LayerList(
            2,
            index -> {
              if (index == 1) {
                throw new IllegalStateException("no layer 1");
              }
              return load(index);
            },
            true);
    layers.get(0);
    IllegalStateException failed = assertThrows(IllegalStateException.class, () -> layers.get(1));
    assertEquals("no layer 1", failed.getMessage());
    layers.releaseAll();
  }
}
