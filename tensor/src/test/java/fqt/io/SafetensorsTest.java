package fqt.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  @TempDir private Path folder;

  /** A file of the given header and as many data bytes 0, 1, 2 …. */
  static byte[] file(String header, int dataBytes) {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes =
        ByteBuffer.allocate(8 + json.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(json.length).put(json);
    for (int i = 0; i < dataBytes; i++) {
      bytes.put((byte) i);
    }
    return bytes.array();
  }

  private Path write(String name, String header, int dataBytes) throws IOException {
    return Files.write(folder.resolve(name), file(header, dataBytes));
  }

  private static void refused(Path path, String sentence) {
    FileFormatException e =
        assertThrows(FileFormatException.class, () -> Safetensors.open(path).close());
    assertEquals(sentence, e.getMessage());
  }

  @Test
  void readsTheReferences() {
    try (Safetensors file = Safetensors.open(FIXTURES.resolve("eval_ids.safetensors"))) {
      assertEquals(Set.of("ids"), file.names());
      Tensor ids = file.get("ids");
      assertEquals(DType.I32, ids.dtype());
      assertTrue(ids.count() > 10_000);
      assertTrue(ids.getLong(0) >= 0 && ids.getLong(0) < 1280);
    }
    try (Safetensors model = Safetensors.open(FIXTURES.resolve("tiny-qwen2"))) {
      Tensor weight = model.get("model.layers.1.self_attn.q_proj.weight");
      assertEquals(Shape.of(128, 128), weight.shape());
      assertEquals(DType.BF16, weight.dtype());
      assertEquals(Map.of("format", "pt"), model.metadata());
    }
  }

  @Test
  void readsEveryTypeAndOddShapes() throws IOException {
    StringBuilder header = new StringBuilder("{\"__metadata__\":{\"k\":\"v\"}");
    int position = 0;
    for (DType dtype : DType.values()) {
      int end = position + 3 * dtype.byteSize();
      header.append(
          ",\"%s\":{\"dtype\":\"%s\",\"shape\":[3,1],\"data_offsets\":[%d,%d]}"
              .formatted(dtype, dtype, position, end));
      position = end;
    }
    header.append(
        (",\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[%d,%d]},"
                + "\"none\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[%d,%d]}}   ")
            .formatted(position, position + 1, position, position));
    Path path = write("a.safetensors", header.toString(), position + 1);
    try (Safetensors file = Safetensors.open(path)) {
      int begin = 0;
      for (DType dtype : DType.values()) {
        Tensor tensor = file.get(dtype.name());
        assertEquals(dtype, tensor.dtype());
        assertEquals(Shape.of(3, 1), tensor.shape());
        byte[] bytes = tensor.segment().toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
        assertEquals(begin, bytes[0]);
        assertEquals(3 * dtype.byteSize(), bytes.length);
        begin += bytes.length;
      }
      assertEquals(begin, file.get("scalar").getLong());
      assertEquals(0, file.get("none").count());
      assertEquals(Map.of("k", "v"), file.metadata());
      assertTrue(file.get("F32").segment().isReadOnly());
    }
  }

  @Test
  void listsButDoesNotReadOtherTypes() throws IOException {
    Path path =
        write(
            "a.safetensors",
            """
            {"d":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},
             "f":{"dtype":"F4","shape":[3],"data_offsets":[16,18]}}""",
            18);
    try (Safetensors file = Safetensors.open(path)) {
      assertEquals(List.of("F64", "F4"), file.entries().stream().map(TensorEntry::format).toList());
      FileFormatException e = assertThrows(FileFormatException.class, () -> file.get("d"));
      assertEquals(path + ": tensor 'd' is of type F64, which is not supported", e.getMessage());
    }
  }

  @Test
  void namesWhatIsAbsentOrClosed() throws IOException {
    Path path =
        write(
            "a.safetensors", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2);
    Safetensors file = Safetensors.open(path);
    NoSuchElementException e = assertThrows(NoSuchElementException.class, () -> file.get("b"));
    assertEquals(path + " has no tensor 'b'", e.getMessage());
    Tensor tensor = file.get("a");
    file.close();
    file.close();
    assertThrows(IllegalStateException.class, () -> tensor.get(0));
    assertThrows(IllegalStateException.class, () -> file.get("a"));
  }

  @Test
  void readsTensorsBeyondTwoGibibytes() throws IOException {
    long count = (3L << 30) + 17;
    String header =
        ("{\"big\":{\"dtype\":\"U8\",\"shape\":[%1$d],\"data_offsets\":[0,%1$d]},"
                + "\"last\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[%1$d,%2$d]}}")
            .formatted(count, count + 4);
    Path path = folder.resolve("sparse.safetensors");
    byte[] head = file(header, 0);
    try (FileChannel out =
        FileChannel.open(
            path,
            StandardOpenOption.WRITE,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.SPARSE)) {
      out.write(ByteBuffer.wrap(head));
      out.write(ByteBuffer.wrap(new byte[] {42, 1, 1, 0, 0}), head.length + count - 1);
    }
    try (Safetensors file = Safetensors.open(path)) {
      Tensor big = file.get("big");
      assertEquals(count, big.segment().byteSize());
      assertEquals(42, big.getLong(count - 1));
      assertEquals(0, big.getLong(count / 2));
      assertEquals(257, file.get("last").getLong(0));
    }
  }

  @Test
  void refusesMalformedFiles() throws IOException {
    Path path = folder.resolve("a.safetensors");
    Files.write(path, new byte[7]);
    refused(path, path + " has 7 bytes, too few for a safetensors file");
    Files.write(path, file("{}", 0));
    Safetensors.open(path).close();

    byte[] huge = file("{}", 0);
    huge[7] = (byte) 0x80;
    Files.write(path, huge);
    refused(
        path,
        path
            + " announces a header of 9223372036854775810 bytes, more than the 100000000 that"
            + " safetensors allows");
    huge[7] = 0;
    huge[0] = 3;
    Files.write(path, huge);
    refused(path, path + " announces a header of 3 bytes but ends after 2");

    write("a.safetensors", "[]", 0);
    refused(path, path + " (header) holds an array, expected a JSON object");
    write("a.safetensors", "{\"a\":[]}", 0);
    refused(path, path + " (header): a is an array, expected an object");
    write("a.safetensors", "{\"__metadata__\":{\"a\":1}}", 0);
    refused(path, path + " (header): __metadata__: a is 1, expected a string");
    write("a.safetensors", "garbage", 0);
    String message =
        assertThrows(FileFormatException.class, () -> Safetensors.open(path)).getMessage();
    assertTrue(message.startsWith(path + " (header) is not valid JSON at line 1"), message);
  }

  private void refusedEntry(String entry, int dataBytes, String sentence) throws IOException {
    Path path = write("a.safetensors", "{\"a\":" + entry + "}", dataBytes);
    refused(path, path + sentence);
  }

  @Test
  void refusesMalformedEntries() throws IOException {
    refusedEntry(
        "{\"dtype\":\"Q3\",\"shape\":[1],\"data_offsets\":[0,1]}",
        1,
        " (header): a: dtype is \"Q3\", expected a type that safetensors knows");
    refusedEntry(
        "{\"shape\":[1],\"data_offsets\":[0,1]}",
        1,
        " (header): a: dtype is missing, expected a string");
    refusedEntry(
        "{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,23]}",
        23,
        " (header): a: data_offsets 0 to 23 span 23 bytes, which is not the size of F32[2, 3]");
    refusedEntry(
        "{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}",
        4,
        " (header): a: negative dimension in shape [-1]");
    refusedEntry(
        "{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}",
        4,
        " (header): a: shape [4611686018427387904, 4] has more than 2^63 - 1 elements");
    refusedEntry(
        "{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}",
        0,
        " (header): a: data_offsets 0 to 0 span 0 bytes, which is not the size of"
            + " F32[4611686018427387904]");
    refusedEntry(
        "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}",
        1,
        " (header): a: data_offsets are [1,0], expected a begin and an end that is not before it");
    refusedEntry(
        "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}",
        1,
        " (header): a: data_offsets are [0], expected a begin and an end that is not before it");
    refusedEntry(
        "{\"dtype\":\"U8\",\"shape\":\"x\",\"data_offsets\":[0,1]}",
        1,
        " (header): a: shape is \"x\", expected an array");
  }

  @Test
  void refusesHolesOverlapsAndLooseEnds() throws IOException {
    String u8 = "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[%d,%d]}";
    int base = 8 + ("{\"a\":" + u8.formatted(0, 4) + "}").length();
    refusedEntry(
        u8.formatted(1, 5),
        5,
        ": tensor 'a' begins at byte %d, expected byte %d, where the header ends"
            .formatted(base + 1, base));
    refusedEntry(
        u8.formatted(0, 4),
        3,
        " is truncated: tensor 'a' needs bytes %d to %d, the file has %d"
            .formatted(base, base + 4, base + 3));
    refusedEntry(u8.formatted(0, 4), 6, " has 2 bytes after its last tensor");

    String two = "{\"a\":" + u8 + ",\"b\":" + u8 + "}";
    Path path = write("a.safetensors", two.formatted(0, 4, 2, 6), 6);
    int begin = 8 + two.formatted(0, 4, 2, 6).length();
    refused(
        path,
        "%s: tensor 'b' begins at byte %d, expected byte %d, where 'a' ends"
            .formatted(path, begin + 2, begin + 4));
    String far = Long.toString(Long.MAX_VALUE - 4);
    String end = Long.toString(Long.MAX_VALUE);
    String header = "{\"a\":" + u8.replace("%d,%d", far + "," + end) + "}";
    write("a.safetensors", header, 4);
    refused(
        path,
        "%s: tensor 'a' begins at byte %d, expected byte %d, where the header ends"
            .formatted(path, Long.MAX_VALUE, 8 + header.length()));
  }

  @Test
  void readsShards() throws IOException {
    String entry = "{\"%s\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    write("m-1.safetensors", entry.formatted("a"), 2);
    write("m-2.safetensors", entry.formatted("b"), 2);
    Path index = folder.resolve("model.safetensors.index.json");
    String map = "{\"metadata\":{\"total_size\":4},\"weight_map\":{\"b\":\"%s\",\"a\":\"%s\"}}";
    Files.writeString(index, map.formatted("m-2.safetensors", "m-1.safetensors"));
    for (Path path : List.of(folder, index)) {
      try (Safetensors model = Safetensors.open(path)) {
        assertEquals(List.of("b", "a"), List.copyOf(model.names()));
        assertArrayEquals(new long[] {0, 1}, model.get("b").toLongs());
      }
    }
    Files.writeString(index, map.formatted("m-2.safetensors", "m-3.safetensors"));
    refused(folder, index + ": shard m-3.safetensors, which holds tensor 'a', is missing");
    Files.writeString(index, map.formatted("m-2.safetensors", "m-2.safetensors"));
    refused(folder, index + ": tensor 'a' is not in m-2.safetensors, where the index says it is");
    for (String hostile : List.of("../m-2.safetensors", "/etc/passwd", "..", "", "x/y")) {
      Files.writeString(index, map.formatted("m-2.safetensors", hostile));
      refused(
          folder,
          "%s: weight_map: a is \"%s\", expected the name of a file in the same folder"
              .formatted(index, hostile));
    }
  }

  @Test
  void saysWhatAFolderLacks() {
    refused(folder, folder + " holds neither model.safetensors nor model.safetensors.index.json");
    Path absent = folder.resolve("absent.safetensors");
    UncheckedIOException e =
        assertThrows(UncheckedIOException.class, () -> Safetensors.open(absent));
    assertEquals("cannot read " + absent + ": no such file", e.getMessage());
  }
}
