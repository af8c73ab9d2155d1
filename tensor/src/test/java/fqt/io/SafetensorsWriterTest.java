package fqt.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
  private static final long GIB = 1L << 30;

  @TempDir private Path folder;

  private static Tensor random(long seed, DType dtype, long... dims) {
    Shape shape = Shape.of(dims);
    byte[] bytes = new byte[Math.toIntExact(shape.count() * dtype.byteSize())];
    new Random(seed).nextBytes(bytes);
    MemorySegment segment = Arena.ofAuto().allocate(Math.max(1, bytes.length), 64);
    MemorySegment.copy(bytes, 0, segment, ValueLayout.JAVA_BYTE, 0, bytes.length);
    return Tensor.of(segment, dtype, shape);
  }

  private static byte[] bytes(Tensor tensor) {
    return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
  }

  /** Every type, sizes that divide by eight and sizes that do not. */
  private static Map<String, Tensor> tensors() {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    long seed = 1;
    for (DType dtype : DType.values()) {
      for (long size : new long[] {0, 1, 3, 8, 17, 64}) {
        tensors.put(dtype + "." + size, random(seed++, dtype, size, 3));
      }
    }
    tensors.put("scalar", random(seed, DType.U8));
    return tensors;
  }

  private static void assertSame(Map<String, Tensor> expected, Path path) {
    try (Safetensors source = Safetensors.open(path)) {
      assertEquals(expected.keySet(), source.names());
      expected.forEach(
          (name, tensor) -> {
            Tensor read = source.get(name);
            assertEquals(tensor.dtype(), read.dtype(), name);
            assertEquals(tensor.shape(), read.shape(), name);
            assertArrayEquals(bytes(tensor), bytes(read), name);
            assertEquals(
                0, source.entry(name).begin() % tensor.dtype().byteSize(), name + " is misaligned");
          });
    }
  }

  private List<String> files() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  private void writeAll(Map<String, Tensor> tensors, long maxShardBytes) {
    try (SafetensorsWriter out = SafetensorsWriter.create(folder, maxShardBytes)) {
      tensors.forEach(out::write);
      out.finish();
    }
  }

  @Test
  void writesOneFile() {
    Path path = folder.resolve("a.safetensors");
    SafetensorsWriter.writeFile(path, tensors(), Map.of("b", "2", "a", "é\""));
    assertSame(tensors(), path);
    try (Safetensors file = Safetensors.open(path)) {
      assertEquals(Map.of("a", "é\"", "b", "2"), file.metadata());
    }
    SafetensorsWriter.writeFile(path, Map.of(), Map.of());
    assertSame(Map.of(), path);
  }

  @Test
  void writesOneShard() throws IOException {
    writeAll(tensors(), GIB);
    assertEquals(List.of("model.safetensors"), files());
    assertSame(tensors(), folder);
    assertTrue(Files.size(folder.resolve("model.safetensors")) < 20_000, "room was not given back");
  }

  @Test
  void writesNothing() throws IOException {
    writeAll(Map.of(), GIB);
    assertSame(Map.of(), folder);
  }

  @Test
  void splitsIntoShards() throws IOException {
    Map<String, Tensor> tensors = tensors();
    long total = tensors.values().stream().mapToLong(Tensor::byteSize).sum();
    writeAll(tensors, 1000);
    List<String> files = files();
    int shards = files.size() - 1;
    assertTrue(shards >= Math.ceilDiv(total, 1000), files.toString());
    assertEquals("model-00001-of-%05d.safetensors".formatted(shards), files.getFirst());
    assertEquals("model.safetensors.index.json", files.getLast());
    JsonObject index = Json.readObject(folder.resolve(files.getLast()));
    assertEquals(total, index.getObject("metadata").getLong("total_size"));
    assertSame(tensors, folder);
    for (String name : files.subList(0, shards)) {
      try (Safetensors shard = Safetensors.open(folder.resolve(name))) {
        long bytes = shard.entries().stream().mapToLong(TensorEntry::byteSize).sum();
        assertTrue(bytes <= 1000 || shard.names().size() == 1, name + " holds " + bytes);
        assertEquals(Map.of("format", "pt"), shard.metadata());
      }
    }
  }

  @Test
  void leavesRoomForTheHeaderOfALargeFile() {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("odd", random(1, DType.BF16, 1));
    tensors.put("large", random(2, DType.I8, 17, 1 << 20));
    tensors.put("odd too", random(3, DType.F32, 3));
    writeAll(tensors, GIB);
    assertSame(tensors, folder);
    try (Safetensors file = Safetensors.open(folder)) {
      assertEquals(1 << 18, file.entry("large").begin(), "the data was moved");
      assertEquals(List.of("large", "odd too", "odd"), List.copyOf(file.names()));
    }
  }

  @Test
  void growsAHeaderBeyondItsRoom() {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (int i = 0; i < 5000; i++) {
      tensors.put(
          "model.layers.%d.some.long.name.of.a.weight".formatted(i), random(i, DType.F32, 2));
    }
    tensors.put("large", random(2, DType.I8, 17, 1 << 20));
    writeAll(tensors, GIB);
    assertSame(tensors, folder);
  }

  @Test
  void leavesNothingUnlessFinished() throws IOException {
    try (SafetensorsWriter out = SafetensorsWriter.create(folder, 100)) {
      tensors().forEach(out::write);
      assertFalse(files().isEmpty());
    }
    assertEquals(List.of(), files());
  }

  @Test
  void refusesMisuse() {
    Tensor tensor = random(1, DType.F32, 2);
    assertThrows(IllegalArgumentException.class, () -> SafetensorsWriter.create(folder, 0));
    try (SafetensorsWriter out = SafetensorsWriter.create(folder, GIB)) {
      out.write("a", tensor);
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> out.write("a", tensor));
      assertEquals("tensor 'a' is written twice", e.getMessage());
      assertThrows(IllegalArgumentException.class, () -> out.write("__metadata__", tensor));
      out.finish();
      assertThrows(IllegalStateException.class, () -> out.write("b", tensor));
      assertThrows(IllegalStateException.class, out::finish);
    }
  }
}
