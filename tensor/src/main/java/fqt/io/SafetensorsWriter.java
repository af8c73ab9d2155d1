package fqt.io;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Writes a checkpoint one tensor at a time, so that no more than one needs to be in memory. Tensors
 * go to shards of bounded size; {@link #finish} names them {@code model.safetensors}, or {@code
 * model-00001-of-00003.safetensors} … with {@code model.safetensors.index.json}. For one thread.
 *
 * <p>Write into the folder of an {@link AtomicFolder}, whose commit makes the files durable.
 *
 * {@snippet :
 * try (SafetensorsWriter out = SafetensorsWriter.create(folder, 5_000_000_000L)) {
 *   out.write("model.norm.weight", weight);
 *   out.finish();
 * }
 * }
 */
public final class SafetensorsWriter implements AutoCloseable {
  /** What frameworks write into the metadata and some readers demand. */
  static final Map<String, String> METADATA = Map.of("format", "pt");

  private final Path folder;
  private final long maxShardBytes;
  private final List<SafetensorsShard> shards = new ArrayList<>();
  private final Map<String, Integer> shardOf = new LinkedHashMap<>();
  private long totalBytes;
  private boolean finished;

  private SafetensorsWriter(Path folder, long maxShardBytes) {
    this.folder = folder;
    this.maxShardBytes = maxShardBytes;
  }

  /**
   * Starts a checkpoint in an existing folder.
   *
   * @param folder where the shards are written
   * @param maxShardBytes bytes of tensors in a file; only a single larger tensor exceeds it
   * @return a writer without tensors yet
   */
  public static SafetensorsWriter create(Path folder, long maxShardBytes) {
    if (maxShardBytes <= 0) {
      throw new IllegalArgumentException(
          "a shard must hold at least one byte, not " + maxShardBytes);
    }
    return new SafetensorsWriter(folder, maxShardBytes);
  }

  /**
   * Writes several tensors to one file that appears whole or not at all.
   *
   * @param path the file; replaced if it exists
   * @param tensors by name, of any device and strides; the widest types come first in the file
   * @param metadata texts for the file's {@code __metadata__}
   */
  public static void writeFile(
      Path path, Map<String, Tensor> tensors, Map<String, String> metadata) {
    List<Map.Entry<String, Tensor>> sorted = new ArrayList<>(tensors.entrySet());
    sorted.sort(Comparator.comparingInt(entry -> -entry.getValue().dtype().byteSize()));
    SafetensorsLayout layout = new SafetensorsLayout(metadata);
    sorted.forEach(entry -> layout.add(entry.getKey(), entry.getValue()));
    try (AtomicFile file = AtomicFile.create(path)) {
      file.write(layout.encode());
      for (Map.Entry<String, Tensor> entry : sorted) {
        try (Scope scope = Scope.open()) {
          file.write(onHost(entry.getValue()).segment());
        }
      }
      file.commit();
    }
  }

  private static Tensor onHost(Tensor tensor) {
    return Ops.contiguous(Ops.to(tensor, Device.CPU));
  }

  /**
   * Writes a tensor, of any device and strides; its memory may be freed afterwards.
   *
   * @param name its full name, unique in the checkpoint
   * @param tensor its elements, written in their own type
   * @throws IllegalArgumentException if a tensor of that name was written before
   * @throws java.io.UncheckedIOException if the disk refuses
   */
  public void write(String name, Tensor tensor) {
    requireUnfinished();
    if (shardOf.containsKey(name)) {
      throw new IllegalArgumentException("tensor '" + name + "' is written twice");
    }
    SafetensorsShard shard = shardFor(tensor.byteSize());
    try (Scope scope = Scope.open()) {
      shard.append(name, onHost(tensor));
    }
    shardOf.put(name, shards.size());
    totalBytes += tensor.byteSize();
  }

  private SafetensorsShard shardFor(long bytes) {
    if (!shards.isEmpty()) {
      SafetensorsShard last = shards.getLast();
      if (last.dataBytes() + bytes <= maxShardBytes && !last.isCrowded()) {
        return last;
      }
      last.complete();
    }
    Path file = folder.resolve("model-%05d.partial".formatted(shards.size() + 1));
    shards.add(SafetensorsShard.create(file));
    return shards.getLast();
  }

  /** {@return the bytes of all tensors written so far} */
  public long totalBytes() {
    return totalBytes;
  }

  /** Completes the last shard, gives the files their names and writes the index. */
  public void finish() {
    requireUnfinished();
    if (shards.isEmpty()) {
      shards.add(SafetensorsShard.create(folder.resolve("model-00001.partial")));
    }
    shards.getLast().complete();
    for (int i = 0; i < shards.size(); i++) {
      Path named = folder.resolve(shardName(i + 1));
      try {
        Files.move(shards.get(i).path(), named);
      } catch (IOException e) {
        throw IoErrors.writing(named, e);
      }
    }
    finished = true;
    if (shards.size() > 1) {
      writeIndex();
    }
  }

  private String shardName(int number) {
    return shards.size() == 1
        ? Safetensors.SINGLE
        : "model-%05d-of-%05d.safetensors".formatted(number, shards.size());
  }

  private void writeIndex() {
    SortedMap<String, Object> weights = new TreeMap<>();
    shardOf.forEach((name, number) -> weights.put(name, shardName(number)));
    Map<String, Object> index = new LinkedHashMap<>();
    index.put("metadata", Map.of("total_size", totalBytes));
    index.put("weight_map", weights);
    Json.write(folder.resolve(Safetensors.INDEX), index);
  }

  private void requireUnfinished() {
    if (finished) {
      throw new IllegalStateException("the checkpoint in " + folder + " is finished");
    }
  }

  /** Deletes the shards, unless they were finished. */
  @Override
  public void close() {
    if (!finished) {
      finished = true;
      shards.forEach(SafetensorsShard::delete);
    }
  }
}
