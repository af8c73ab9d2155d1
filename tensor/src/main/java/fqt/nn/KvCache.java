package fqt.nn;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * Keys and values of the tokens seen so far, one pair a layer; a layer is known by the identity of
 * its attention module. All memory is taken at construction, from the scope that is current then.
 * Not safe for several threads.
 */
public final class KvCache {
  private final Tensor keys;
  private final Tensor values;
  private final Map<Module, Slot> slots = new IdentityHashMap<>();

  /**
   * All keys and values of one layer.
   *
   * @param keys F32 [tokens, kvHeads, headDim]
   * @param values like keys
   */
  public record Entry(Tensor keys, Tensor values) {}

  private static final class Slot {
    private final int index;
    private long tokens;

    private Slot(int index) {
      this.index = index;
    }
  }

  /**
   * An empty cache.
   *
   * @param device where the layers run
   * @param layers how many attention modules will use it
   * @param capacity how many tokens it can hold
   * @param kvHeads heads of keys and of values
   * @param headDim size of a head
   */
  public KvCache(Device device, int layers, long capacity, long kvHeads, long headDim) {
    keys = Ops.empty(device, DType.F32, layers, capacity, kvHeads, headDim);
    values = Ops.empty(device, DType.F32, layers, capacity, kvHeads, headDim);
  }

  /** {@return how many tokens it can hold} */
  public long capacity() {
    return keys.dim(1);
  }

  /**
   * Adds the keys and values of new tokens to a layer's.
   *
   * @param layer the attention module
   * @param newKeys [tokens, kvHeads, headDim]
   * @param newValues like newKeys
   * @return views of all that the layer has now
   * @throws IllegalStateException if the capacity or the number of layers is exceeded
   */
  public Entry append(Module layer, Tensor newKeys, Tensor newValues) {
    Slot slot = slots.computeIfAbsent(layer, unused -> new Slot(slots.size()));
    long from = slot.tokens;
    long to = from + newKeys.dim(0);
    if (slot.index >= keys.dim(0) || to > capacity()) {
      throw new IllegalStateException(
          "a cache of %d layers and %d tokens cannot take token %d of layer %d"
              .formatted(keys.dim(0), capacity(), to, slot.index + 1));
    }
    Tensor layerKeys = keys.select(0, slot.index);
    Tensor layerValues = values.select(0, slot.index);
    Ops.copyInto(newKeys, layerKeys.slice(0, from, to));
    Ops.copyInto(newValues, layerValues.slice(0, from, to));
    slot.tokens = to;
    return new Entry(layerKeys.slice(0, 0, to), layerValues.slice(0, 0, to));
  }
}
