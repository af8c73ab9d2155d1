package fqt.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads what {@code torch.save} and {@code pickle.dump} write: the zip format, the one before it,
 * and plain pickles. Which of them a file is shows in its first bytes.
 *
 * <p>The old format is a row of pickles - a magic number, the protocol's number, the writer's
 * machine, the value itself, the keys of its storages - followed by the storages in the order of
 * the keys, each a count of elements in eight bytes and the elements.
 */
final class TorchReader {
  /** What {@code torch.save} pickles first. */
  static final BigInteger MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);

  static final long PROTOCOL = 1001;

  private static final int MAX_NESTING = 2;

  private TorchReader() {}

  /**
   * Maps a file and reads the value in it; tensors are views of the file.
   *
   * @param arena decides how long the file stays mapped
   */
  static Object read(Path path, Arena arena) {
    String source = path.toString();
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      return read(file, source);
    } catch (IOException e) {
      throw IoErrors.reading(path, e);
    }
  }

  static Object read(MemorySegment file, String source) {
    if (file.byteSize() == 0) {
      throw new FileFormatException(source + " is empty, expected a pickle or a zip file");
    }
    Object value =
        StoredZip.isZip(file)
            ? readZip(file, source)
            : readPickles(file, source, 0, new PickleBudget(source));
    return PlainValues.of(value, source);
  }

  /** What the bytes inside a pickle hold: a storage in the old format. */
  static Object readNested(MemorySegment bytes, String source, int nesting, PickleBudget budget) {
    if (nesting > MAX_NESTING) {
      throw new FileFormatException(source + ": pickles are nested deeper than " + MAX_NESTING);
    }
    return readPickles(bytes, source, nesting, budget);
  }

  private static Object readZip(MemorySegment file, String source) {
    Map<String, MemorySegment> entries = StoredZip.entries(file, source);
    String prefix = null;
    for (String name : entries.keySet()) {
      if (name.endsWith("/data.pkl") && name.indexOf('/') == name.lastIndexOf('/')) {
        prefix = name.substring(0, name.lastIndexOf('/') + 1);
      }
    }
    if (prefix == null) {
      throw new FileFormatException(source + " is a zip file without data.pkl");
    }
    requireLittleEndian(entries.get(prefix + "byteorder"), source);
    String data = prefix + "data/";
    Map<String, TorchStorage> found = new HashMap<>();
    TorchGlobals.Storages storages =
        (key, format, byteSize) ->
            found
                .computeIfAbsent(
                    key + " " + format.name(),
                    unused -> {
                      TorchStorage storage = new TorchStorage(key, format, byteSize);
                      MemorySegment bytes = entries.get(data + key);
                      if (bytes != null) {
                        storage.place(bytes, source);
                      }
                      return storage;
                    })
                .requireSame(format, byteSize, source);
    PickleInput pickle = new PickleInput(entries.get(prefix + "data.pkl"), source);
    PickleBudget budget = new PickleBudget(source);
    return new StrictUnpickler(new TorchGlobals(source, storages, 0, budget)).read(pickle);
  }

  private static void requireLittleEndian(MemorySegment order, String source) {
    if (order == null) {
      return;
    }
    String text =
        order.byteSize() > 16
            ? "unknown"
            : new String(StrictUnpickler.bytes(order), StandardCharsets.US_ASCII);
    if (!text.equals("little")) {
      throw new FileFormatException(
          source + " is of byte order " + text.replaceAll("\\p{Cntrl}", "?") + ", expected little");
    }
  }

  private static Object readPickles(
      MemorySegment file, String source, int nesting, PickleBudget budget) {
    PickleInput in = new PickleInput(file, source);
    TorchGlobals plain = new TorchGlobals(source, null, nesting, budget);
    Object first = new StrictUnpickler(plain).read(in);
    return MAGIC.equals(first) ? readOld(in, source, nesting, budget) : first;
  }

  private static Object readOld(PickleInput in, String source, int nesting, PickleBudget budget) {
    TorchGlobals plain = new TorchGlobals(source, null, nesting, budget);
    Object protocol = new StrictUnpickler(plain).read(in);
    if (!(protocol instanceof Integer number) || number != PROTOCOL) {
      throw new FileFormatException(
          source + " is in a version of PyTorch's old format that is not supported");
    }
    Object machine = new StrictUnpickler(plain).read(in);
    if (machine instanceof Map<?, ?> map && Boolean.FALSE.equals(map.get("little_endian"))) {
      throw new FileFormatException(source + " is of byte order big, expected little");
    }
    Map<String, TorchStorage> found = new LinkedHashMap<>();
    TorchGlobals.Storages storages =
        (key, format, byteSize) ->
            found
                .computeIfAbsent(key, unused -> new TorchStorage(key, format, byteSize))
                .requireSame(format, byteSize, source);
    Object value =
        new StrictUnpickler(new TorchGlobals(source, storages, nesting, budget)).read(in);
    if (!(new StrictUnpickler(plain).read(in) instanceof List<?> keys)) {
      throw new FileFormatException(source + " does not list the keys of its storages");
    }
    for (Object key : keys) {
      TorchStorage storage = key instanceof String ? found.get(key) : null;
      if (storage == null) {
        throw new FileFormatException(source + " lists the key of a storage that is not used");
      }
      long count = in.readLong();
      if (count != storage.byteSize() / storage.format().byteSize()) {
        throw new FileFormatException(
            "%s: storage %s has %d elements, expected %d"
                .formatted(source, key, count, storage.byteSize() / storage.format().byteSize()));
      }
      storage.place(in.take(storage.byteSize()), source);
    }
    return value;
  }
}
