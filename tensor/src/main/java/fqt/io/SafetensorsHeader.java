package fqt.io;

import fqt.tensor.Shape;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The head of one safetensors file, checked in full before any tensor is handed out.
 *
 * <pre>
 *  0          8               8 + n                        end of file
 *  | n, u64 LE | JSON, n bytes | tensors, without gaps or overlaps |
 * </pre>
 *
 * <p>The JSON maps each name to {@code {"dtype", "shape", "data_offsets": [begin, end]}}, offsets
 * counted from 8 + n, and {@code __metadata__} to strings.
 */
record SafetensorsHeader(Map<String, TensorEntry> entries, Map<String, String> metadata) {
  /** The format's own bound on n. */
  static final long MAX_BYTES = 100_000_000;

  static final String METADATA = "__metadata__";

  private static final ValueLayout.OfLong LENGTH =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** Bits of an element of every type that the format knows. */
  private static final Map<String, Integer> BITS =
      Map.ofEntries(
          Map.entry("F32", 32),
          Map.entry("F16", 16),
          Map.entry("BF16", 16),
          Map.entry("F8_E4M3", 8),
          Map.entry("F8_E5M2", 8),
          Map.entry("I64", 64),
          Map.entry("I32", 32),
          Map.entry("I16", 16),
          Map.entry("I8", 8),
          Map.entry("U8", 8),
          Map.entry("BOOL", 8),
          Map.entry("F64", 64),
          Map.entry("C64", 64),
          Map.entry("U64", 64),
          Map.entry("U32", 32),
          Map.entry("U16", 16),
          Map.entry("F8_E8M0", 8),
          Map.entry("F8_E4M3FNUZ", 8),
          Map.entry("F8_E5M2FNUZ", 8),
          Map.entry("F6_E2M3", 6),
          Map.entry("F6_E3M2", 6),
          Map.entry("F4", 4));

  /**
   * Reads and checks the head of a mapped file.
   *
   * @throws FileFormatException if anything in it is not as the format demands
   */
  static SafetensorsHeader read(MemorySegment file, Path path) {
    if (file.byteSize() < Long.BYTES) {
      throw new FileFormatException(
          "%s has %d bytes, too few for a safetensors file".formatted(path, file.byteSize()));
    }
    long length = file.get(LENGTH, 0);
    if (length < 0 || length > MAX_BYTES) {
      throw new FileFormatException(
          "%s announces a header of %s bytes, more than the %d that safetensors allows"
              .formatted(path, Long.toUnsignedString(length), MAX_BYTES));
    }
    if (length > file.byteSize() - Long.BYTES) {
      throw new FileFormatException(
          "%s announces a header of %d bytes but ends after %d"
              .formatted(path, length, file.byteSize() - Long.BYTES));
    }
    byte[] json = file.asSlice(Long.BYTES, length).toArray(ValueLayout.JAVA_BYTE);
    JsonObject root = JsonObject.of(Json.parse(json, path + " (header)"), path + " (header)");
    long dataBegin = Long.BYTES + length;
    Map<String, TensorEntry> entries = new LinkedHashMap<>();
    for (String name : root.names()) {
      if (!name.equals(METADATA)) {
        entries.put(name, entry(name, root.getObject(name), dataBegin, path));
      }
    }
    requireSeamless(entries, dataBegin, file.byteSize(), path);
    return new SafetensorsHeader(entries, metadata(root));
  }

  private static Map<String, String> metadata(JsonObject root) {
    Map<String, String> texts = new LinkedHashMap<>();
    JsonObject metadata = root.getObjectOrEmpty(METADATA);
    metadata.names().forEach(name -> texts.put(name, metadata.getString(name)));
    return texts;
  }

  private static TensorEntry entry(String name, JsonObject fields, long dataBegin, Path path) {
    String format = fields.getString("dtype");
    Integer bits = BITS.get(format);
    if (bits == null) {
      throw fields.wrong("dtype", "a type that safetensors knows", format);
    }
    Shape shape = shape(fields);
    long[] offsets = fields.getLongs("data_offsets");
    if (offsets.length != 2 || offsets[0] < 0 || offsets[1] < offsets[0]) {
      throw new FileFormatException(
          "%s: data_offsets are %s, expected a begin and an end that is not before it"
              .formatted(fields.source(), Json.write(fields.getList("data_offsets"))));
    }
    long bytes = offsets[1] - offsets[0];
    if (shape.count() > (Long.MAX_VALUE - 7) / bits || (shape.count() * bits + 7) / 8 != bytes) {
      throw new FileFormatException(
          "%s: data_offsets %d to %d span %d bytes, which is not the size of %s%s"
              .formatted(fields.source(), offsets[0], offsets[1], bytes, format, shape));
    }
    return new TensorEntry(name, format, shape, addWithin(dataBegin, offsets[0]), bytes, path);
  }

  private static Shape shape(JsonObject fields) {
    try {
      return Shape.of(fields.getLongs("shape"));
    } catch (IllegalArgumentException e) {
      throw new FileFormatException(fields.source() + ": " + e.getMessage(), e);
    }
  }

  /** A position too large for any file stays too large instead of wrapping around. */
  private static long addWithin(long base, long offset) {
    return offset > Long.MAX_VALUE - base ? Long.MAX_VALUE : base + offset;
  }

  /** Tensors must cover all bytes after the header, each byte once. */
  private static void requireSeamless(
      Map<String, TensorEntry> entries, long dataBegin, long fileEnd, Path path) {
    List<TensorEntry> sorted = new ArrayList<>(entries.values());
    sorted.sort(
        Comparator.comparingLong(TensorEntry::begin).thenComparingLong(TensorEntry::byteSize));
    long position = dataBegin;
    String before = "the header";
    for (TensorEntry entry : sorted) {
      if (entry.begin() != position) {
        throw new FileFormatException(
            "%s: tensor '%s' begins at byte %d, expected byte %d, where %s ends"
                .formatted(path, entry.name(), entry.begin(), position, before));
      }
      if (entry.byteSize() > fileEnd - position) {
        throw new FileFormatException(
            "%s is truncated: tensor '%s' needs bytes %d to %d, the file has %d"
                .formatted(
                    path,
                    entry.name(),
                    entry.begin(),
                    addWithin(entry.begin(), entry.byteSize()),
                    fileEnd));
      }
      position += entry.byteSize();
      before = "'" + entry.name() + "'";
    }
    if (position != fileEnd) {
      throw new FileFormatException(
          "%s has %d bytes after its last tensor".formatted(path, fileEnd - position));
    }
  }
}
