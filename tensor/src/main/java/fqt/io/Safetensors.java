package fqt.io;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;

/**
 * Tensors of a safetensors file or of a checkpoint that is split into several, mapped into memory.
 * Headers are checked in full on opening; a tensor is a view of the mapping and costs nothing until
 * its bytes are read. Any thread may read.
 *
 * <p>Tensors must not be used after {@link #close}, which unmaps the files; doing so is reported,
 * not undefined. The format promises no alignment, so a tensor's address may be odd. Its numbers
 * are little-endian, as are ours.
 *
 * {@snippet :
 * try (Safetensors file = Safetensors.open(Path.of("model.safetensors"))) {
 *   Tensor embedding = file.get("model.embed_tokens.weight");
 * }
 * }
 */
public final class Safetensors implements TensorSource {
  static final String SINGLE = "model.safetensors";
  static final String INDEX = SINGLE + ".index.json";

  private final Path path;
  private final Arena arena;
  private final Map<Path, MemorySegment> mappings = new LinkedHashMap<>();
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  private Safetensors(Path path, Arena arena) {
    this.path = path;
    this.arena = arena;
  }

  /**
   * Opens a {@code .safetensors} file, a {@code .index.json} that names several, or a folder that
   * holds {@code model.safetensors} or {@code model.safetensors.index.json}.
   *
   * @param path the file or folder
   * @return the checkpoint, its files mapped into memory until it is closed
   * @throws FileFormatException if a file is malformed or a shard or tensor is missing
   * @throws java.io.UncheckedIOException if a file cannot be read
   */
  public static Safetensors open(Path path) {
    Arena arena = Arena.ofShared();
    try {
      return open(path, arena);
    } catch (RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /** Opens files that stay mapped as long as an arena lives. */
  static Safetensors open(Path path, Arena arena) {
    Path file = Files.isDirectory(path) ? inFolder(path) : path;
    Safetensors source = new Safetensors(path, arena);
    if (file.getFileName().toString().endsWith(".json")) {
      source.addIndexed(file);
    } else {
      source.entries.putAll(source.add(file).entries());
    }
    return source;
  }

  /** Whether a folder holds a checkpoint of this kind. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(SINGLE)) || Files.exists(folder.resolve(INDEX));
  }

  private static Path inFolder(Path folder) {
    for (String name : new String[] {SINGLE, INDEX}) {
      if (Files.exists(folder.resolve(name))) {
        return folder.resolve(name);
      }
    }
    throw new FileFormatException(folder + " holds neither " + SINGLE + " nor " + INDEX);
  }

  /** Maps a file and checks its header. */
  private SafetensorsHeader add(Path file) {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      MemorySegment mapping = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      SafetensorsHeader header = SafetensorsHeader.read(mapping, file);
      mappings.put(file, mapping);
      header.metadata().forEach(metadata::putIfAbsent);
      return header;
    } catch (IOException e) {
      throw IoErrors.reading(file, e);
    }
  }

  /** Maps every shard that the index names; tensors come in the order of the index. */
  private void addIndexed(Path index) {
    JsonObject weights = Json.readObject(index).getObject("weight_map");
    Map<String, SafetensorsHeader> shards = new LinkedHashMap<>();
    for (String name : weights.names()) {
      String shard = weights.getString(name);
      SafetensorsHeader header = shards.get(shard);
      if (header == null) {
        header = add(shardFile(index, name, weights));
        shards.put(shard, header);
      }
      TensorEntry entry = header.entries().get(name);
      if (entry == null) {
        throw new FileFormatException(
            "%s: tensor '%s' is not in %s, where the index says it is"
                .formatted(index, name, shard));
      }
      entries.put(name, entry);
    }
  }

  /** The file that an index names for a tensor, which must be beside the index. */
  static Path shardFile(Path index, String tensor, JsonObject weights) {
    String shard = weights.getString(tensor);
    Path file = sibling(index, shard);
    if (file == null) {
      throw weights.wrong(tensor, "the name of a file in the same folder", shard);
    }
    if (!Files.isRegularFile(file)) {
      throw new FileFormatException(
          "%s: shard %s, which holds tensor '%s', is missing".formatted(index, shard, tensor));
    }
    return file;
  }

  /** The file of that plain name beside the index, or null if the name leads elsewhere. */
  private static Path sibling(Path index, String name) {
    try {
      Path file = index.resolveSibling(name);
      boolean plain = Path.of(name).getNameCount() == 1 && !name.equals("..");
      return plain && file.endsWith(name) ? file : null;
    } catch (InvalidPathException e) {
      return null;
    }
  }

  @Override
  public Set<String> names() {
    return Collections.unmodifiableSet(entries.keySet());
  }

  @Override
  public boolean has(String name) {
    return entries.containsKey(name);
  }

  /**
   * {@return what the headers say of all tensors, also of those whose type {@link #get} refuses}
   */
  public Collection<TensorEntry> entries() {
    return Collections.unmodifiableCollection(entries.values());
  }

  /**
   * {@return what the header says of one tensor}
   *
   * @param name the tensor's full name
   * @throws NoSuchElementException if there is no such tensor
   */
  public TensorEntry entry(String name) {
    TensorEntry entry = entries.get(name);
    if (entry == null) {
      throw new NoSuchElementException(path + " has no tensor '" + name + "'");
    }
    return entry;
  }

  /**
   * One tensor, a read-only view of the mapped file.
   *
   * @throws FileFormatException if its elements are of a type that {@link DType} lacks
   * @throws NoSuchElementException if there is no such tensor
   * @throws IllegalStateException if this source is closed
   */
  @Override
  public Tensor get(String name) {
    TensorEntry entry = entry(name);
    DType dtype = dtype(entry);
    MemorySegment bytes = mappings.get(entry.file()).asSlice(entry.begin(), entry.byteSize());
    if (!arena.scope().isAlive()) {
      throw new IllegalStateException(path + " is closed");
    }
    return Tensor.of(bytes, dtype, entry.shape());
  }

  private static DType dtype(TensorEntry entry) {
    for (DType dtype : DType.values()) {
      if (dtype.name().equals(entry.format())) {
        return dtype;
      }
    }
    throw new FileFormatException(
        "%s: tensor '%s' is of type %s, which is not supported"
            .formatted(entry.file(), entry.name(), entry.format()));
  }

  /** {@return the {@code __metadata__} of the file, or of all shards together} */
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
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
