package fqt.io;

import fqt.tensor.Tensor;
import java.util.NoSuchElementException;
import java.util.Set;

/** Named tensors, read when asked for: a safetensors file, a sharded checkpoint, a pickle. */
public interface TensorSource {
  /** All names, in the order of the file. */
  Set<String> names();

  /**
   * One tensor, as a view of the file where the format allows it.
   *
   * @throws NoSuchElementException if there is no such tensor, naming it and the source
   */
  Tensor get(String name);

  /** Whether there is such a tensor. */
  default boolean has(String name) {
    return names().contains(name);
  }
}
