package fqt.io;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;

/**
 * The tensors of a checkpoint that {@code torch.save} wrote: {@code pytorch_model.bin}, or the
 * files that {@code pytorch_model.bin.index.json} names. Tensors are views of the mapped files and
 * must not be used after {@link #close}. Any thread may read.
 */
public final class TorchCheckpoint implements TensorSource {
  static final String SINGLE = "pytorch_model.bin";
  static final String INDEX = SINGLE + ".index.json";

  private final Path path;
  private final Arena arena = Arena.ofShared();
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();

  private TorchCheckpoint(Path path) {
    this.path = path;
  }

  /**
   * Opens a file of {@code torch.save}, an index of such files, or a folder that holds one of the
   * two under its usual name.
   *
   * @param path the file or folder
   * @return the checkpoint, its files mapped into memory until it is closed
   * @throws FileFormatException if a file is malformed, asks for what is not allowed, or is missing
   * @throws java.io.UncheckedIOException if a file cannot be read
   */
  public static TorchCheckpoint open(Path path) {
    TorchCheckpoint checkpoint = new TorchCheckpoint(path);
    try {
      Path file = Files.isDirectory(path) ? inFolder(path) : path;
      if (file.getFileName().toString().endsWith(".json")) {
        checkpoint.addIndexed(file);
      } else {
        checkpoint.tensors.putAll(checkpoint.read(file));
      }
      return checkpoint;
    } catch (RuntimeException e) {
      checkpoint.close();
      throw e;
    }
  }

  /** Whether a folder holds a checkpoint of this kind. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(SINGLE)) || Files.exists(folder.resolve(INDEX));
  }

  private static Path inFolder(Path folder) {
    if (!isIn(folder)) {
      throw new FileFormatException(folder + " holds neither " + SINGLE + " nor " + INDEX);
    }
    Path single = folder.resolve(SINGLE);
    return Files.exists(single) ? single : folder.resolve(INDEX);
  }

  /** The tensors of one file; whatever else its map holds is of no interest to a model. */
  private Map<String, Tensor> read(Path file) {
    if (!(TorchReader.read(file, arena) instanceof Map<?, ?> map)) {
      throw new FileFormatException(file + " holds no map of tensors by name");
    }
    Map<String, Tensor> found = new LinkedHashMap<>();
    map.forEach(
        (name, value) -> {
          if (name instanceof String text && value instanceof Tensor tensor) {
            found.put(text, tensor);
          }
        });
    return found;
  }

  private void addIndexed(Path index) {
    JsonObject weights = Json.readObject(index).getObject("weight_map");
    Map<String, Map<String, Tensor>> shards = new HashMap<>();
    for (String name : weights.names()) {
      String shard = weights.getString(name);
      if (!shards.containsKey(shard)) {
        shards.put(shard, read(Safetensors.shardFile(index, name, weights)));
      }
      Tensor tensor = shards.get(shard).get(name);
      if (tensor == null) {
        throw new FileFormatException(
            "%s: tensor '%s' is not in %s, where the index says it is"
                .formatted(index, name, shard));
      }
      tensors.put(name, tensor);
    }
  }

  @Override
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  /**
   * One tensor, a read-only view of a mapped file; one that is strided there, a contiguous copy.
   *
   * @throws NoSuchElementException if there is no such tensor
   */
  @Override
  public Tensor get(String name) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new NoSuchElementException(path + " has no tensor '" + name + "'");
    }
    return Ops.contiguous(tensor);
  }

  /** Unmaps the files; their tensors cannot be read afterwards. A second call does nothing. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  @Override
  public String toString() {
    return path.toString();
  }
}
