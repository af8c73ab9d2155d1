package fqt.tools;

import fqt.io.Io;
import fqt.io.TensorSource;
import fqt.tensor.Tensor;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.SequencedMap;

/**
 * The tensors of any file that holds some, by name: a checkpoint folder, a safetensors file,
 * PyTorch's files, recordings. Entry i of a list is called {@code list.i}.
 */
final class NamedTensors implements AutoCloseable {
  private final Path path;
  private final TensorSource source;
  private final SequencedMap<String, Tensor> loaded = new LinkedHashMap<>();

  private NamedTensors(Path path, TensorSource source) {
    this.path = path;
    this.source = source;
  }

  /** Opens a file or a checkpoint folder. */
  static NamedTensors open(Path path) {
    if (!Files.exists(path)) {
      NoSuchFileException missing = new NoSuchFileException(path.toString());
      throw new UncheckedIOException("cannot read " + path + ": no such file", missing);
    }
    String name = path.getFileName().toString();
    if (Files.isDirectory(path) || name.matches(".*\\.(safetensors|index\\.json|bin)")) {
      return new NamedTensors(path, TensorSource.open(path));
    }
    NamedTensors tensors = new NamedTensors(path, null);
    tensors.collect("", Io.load(path));
    return tensors;
  }

  private void collect(String name, Object value) {
    String prefix = name.isEmpty() ? "" : name + ".";
    switch (value) {
      case Tensor tensor -> loaded.put(name.isEmpty() ? "tensor" : name, tensor);
      case Map<?, ?> map -> map.forEach((key, element) -> collect(prefix + key, element));
      case List<?> list -> {
        for (int i = 0; i < list.size(); i++) {
          collect(prefix + i, list.get(i));
        }
      }
      case null, default -> {
        // Numbers and strings beside the tensors are no tensors.
      }
    }
  }

  /** The source that the tensors come from; null for a value that was read whole. */
  TensorSource source() {
    return source;
  }

  /** All names, in the order of the file. */
  List<String> names() {
    return new ArrayList<>(source == null ? loaded.sequencedKeySet() : source.names());
  }

  /**
   * One tensor.
   *
   * @throws NoSuchElementException if there is none of the name, naming those that resemble it
   */
  Tensor get(String name) {
    List<String> names = names();
    if (names.contains(name)) {
      return source == null ? loaded.get(name) : source.get(name);
    }
    String part = name.substring(name.lastIndexOf('.') + 1);
    List<String> similar = names.stream().filter(other -> other.contains(part)).limit(3).toList();
    List<String> shown = similar.isEmpty() ? names.stream().limit(3).toList() : similar;
    throw new NoSuchElementException(
        "%s holds no tensor '%s'; it has %d, such as %s"
            .formatted(path, name, names.size(), String.join(", ", shown)));
  }

  @Override
  public void close() {
    if (source != null) {
      source.close();
    }
  }
}
