package fqt.io;

import fqt.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.NoSuchElementException;
import java.util.Set;

/** Named tensors, read when asked for: a safetensors file, a sharded checkpoint, a pickle. */
public interface TensorSource extends AutoCloseable {
  /**
   * Opens a checkpoint: a folder, or a file of it, in safetensors or in PyTorch's own format. In a
   * folder that holds both, safetensors is taken.
   *
   * @param path the folder or file
   * @return the checkpoint's tensors, read when asked for
   * @throws FileFormatException if there is no checkpoint or it is malformed
   * @throws java.io.UncheckedIOException if a file cannot be read
   */
  static TensorSource open(Path path) {
    boolean torch =
        Files.isDirectory(path)
            ? TorchCheckpoint.isIn(path) && !Safetensors.isIn(path)
            : path.getFileName().toString().matches(".*\\.(bin|pt|pth|bin\\.index\\.json)");
    return torch ? TorchCheckpoint.open(path) : Safetensors.open(path);
  }

  /** {@return all names, in the order of the file} */
  Set<String> names();

  /**
   * One tensor, as a view of the file where the format allows it.
   *
   * @param name the tensor's full name
   * @return on the host, valid until the source is closed
   * @throws NoSuchElementException if there is no such tensor, naming it and the source
   */
  Tensor get(String name);

  /**
   * {@return whether there is such a tensor}
   *
   * @param name the full name to look for
   */
  default boolean has(String name) {
    return names().contains(name);
  }

  /** Closes the file, if there is one; its tensors must not be used afterwards. */
  @Override
  default void close() {}
}
