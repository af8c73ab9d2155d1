package fqt.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that torch 1.13 wrote, and our own read back. */
class TorchTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"), "torch");

  @TempDir private Path folder;

  private static Map<?, ?> load(String name) {
    return (Map<?, ?>) Io.load(FIXTURES.resolve(name));
  }

  private static void assertTensor(Object value, DType dtype, long[] shape, double... elements) {
    Tensor tensor = (Tensor) value;
    assertEquals(dtype, tensor.dtype());
    assertEquals(Shape.of(shape), tensor.shape());
    Tensor flat = Ops.copy(tensor).reshape(-1);
    double[] found = new double[elements.length];
    for (int i = 0; i < found.length; i++) {
      found[i] = flat.get(i);
    }
    assertArrayEquals(elements, found);
    assertEquals(elements.length, tensor.count());
  }

  private static long[] dims(long... dims) {
    return dims;
  }

  private static double[] range(int count) {
    double[] values = new double[count];
    Arrays.setAll(values, i -> i);
    return values;
  }

  @ParameterizedTest
  @ValueSource(strings = {"zip.pt", "old.pt"})
  void readsEveryTypeAndStride(String name) {
    Map<?, ?> values = load(name);
    assertEquals("float32", values.keySet().iterator().next(), "the order is lost");
    assertTensor(values.get("float32"), DType.F32, dims(4, 6), range(24));
    Tensor transposed = (Tensor) values.get("transposed");
    assertEquals(Shape.of(6, 4), transposed.shape());
    assertEquals(6, transposed.get(0, 1));
    assertEquals(1, transposed.get(1, 0));
    assertTensor(values.get("slice"), DType.F32, dims(2, 3), 8, 9, 10, 14, 15, 16);
    assertTensor(values.get("expanded"), DType.F32, dims(2, 3), 1, 1, 1, 2, 2, 2);
    assertTensor(values.get("bfloat16"), DType.BF16, dims(4, 6), range(24));
    assertTensor(values.get("float16"), DType.F16, dims(4, 6), range(24));
    assertTensor(values.get("int64"), DType.I64, dims(2), -0x1p40, 0x1p40);
    assertTensor(values.get("int32"), DType.I32, dims(2), -5, 7);
    assertTensor(values.get("int16"), DType.I16, dims(2), -5, 7);
    assertTensor(values.get("int8"), DType.I8, dims(2), -128, 127);
    assertTensor(values.get("uint8"), DType.U8, dims(2), 0, 255);
    assertTensor(values.get("bool"), DType.BOOL, dims(2), 1, 0);
    assertTensor(values.get("scalar"), DType.F32, dims(), 2.5);
    assertTensor(values.get("empty"), DType.F32, dims(0, 3));
    assertTensor(values.get("parameter"), DType.F32, dims(2), 1.5, -2.5);
    assertEquals(
        ((Tensor) values.get("float32")).storage().address(),
        transposed.storage().address(),
        "views of one storage were copied");
  }

  @Test
  void readsPlainValues() {
    Map<?, ?> values = load("plain.pt");
    assertEquals(
        Arrays.asList(1L, 2.5, "té", null, true, 1L << 40, List.of(1L, 2L)), values.get("a"));
    assertTensor(((Map<?, ?>) values.get("nested")).get("t"), DType.F32, dims(6), range(6));
    assertEquals(List.of(4L, 6L), values.get("size"));
    assertEquals("torch.bfloat16", values.get("dtype"));
    assertEquals("cpu", values.get("device"));
    Map<?, ?> state = load("state_dict.pth");
    assertEquals(List.of("weight", "bias"), List.copyOf(state.keySet()));
    assertEquals(Shape.of(2, 3), ((Tensor) state.get("weight")).shape());
  }

  @ParameterizedTest
  @ValueSource(strings = {"recording2.pkl", "recording4.pkl", "recording5.pkl"})
  void readsRecordingsOfPython(String name) {
    Map<?, ?> values = load(name);
    List<?> inputs = (List<?>) values.get("model_input");
    assertTensor(inputs.get(0), DType.F32, dims(4, 6), range(24));
    assertTensor(inputs.get(1), DType.BF16, dims(2, 4), 1, 7, 13, 19, 2, 8, 14, 20);
    List<?> ids = (List<?>) values.get("model_input_ids");
    assertTensor(ids.get(0), DType.I64, dims(1, 3), 1, 2, 3);
    List<?> position = (List<?>) ((List<?>) values.get("model_pos_embed")).getFirst();
    assertTensor(position.get(0), DType.F32, dims(2, 6), range(12));
  }

  @Test
  void refusesTypesThatWeLack() {
    Path path = FIXTURES.resolve("float64.pt");
    FileFormatException e = assertThrows(FileFormatException.class, () -> Io.load(path));
    assertEquals(
        path + ": a tensor of shape [2] is of type float64, which is not supported",
        e.getMessage());
  }

  private static Tensor random(long seed, DType dtype, long... dims) {
    Shape shape = Shape.of(dims);
    byte[] bytes = new byte[Math.toIntExact(shape.count() * dtype.byteSize())];
    new Random(seed).nextBytes(bytes);
    MemorySegment segment = Arena.ofAuto().allocate(Math.max(1, bytes.length), 64);
    MemorySegment.copy(bytes, 0, segment, ValueLayout.JAVA_BYTE, 0, bytes.length);
    return Tensor.of(segment, dtype, shape);
  }

  private static void assertSameBytes(Tensor expected, Object found) {
    Tensor tensor = (Tensor) found;
    assertEquals(expected.dtype(), tensor.dtype());
    assertEquals(expected.shape(), tensor.shape());
    assertEquals(-1, expected.segment().mismatch(tensor.segment()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"a.pt", "a.pth", "a.bin", "a.pkl"})
  void readsWhatItWrites(String name) {
    Map<Object, Object> value = new LinkedHashMap<>();
    for (DType dtype : DType.values()) {
      value.put(dtype.name(), random(dtype.ordinal(), dtype, 3, 5));
    }
    value.put("plain", Arrays.asList(1L, -5L, 1L << 40, Long.MIN_VALUE, 2.5, "é", null, true));
    value.put(7L, List.of(Map.of("none", random(1, DType.F32, 0)), List.of()));
    Tensor twice = random(2, DType.F32, 2);
    value.put("twice", List.of(twice, twice));
    Path path = folder.resolve(name);
    Io.dump(value, path);
    Map<?, ?> read = (Map<?, ?>) Io.load(path);
    assertEquals(List.copyOf(value.keySet()), List.copyOf(read.keySet()));
    for (DType dtype : DType.values()) {
      assertSameBytes((Tensor) value.get(dtype.name()), read.get(dtype.name()));
    }
    assertEquals(value.get("plain"), read.get("plain"));
    assertEquals(List.of(), ((List<?>) read.get(7L)).get(1));
    List<?> pair = (List<?>) read.get("twice");
    assertSameBytes(twice, pair.get(0));
    assertSameBytes(twice, pair.get(1));
  }

  @Test
  void alignsWhatItWrites() throws IOException {
    Path path = folder.resolve("a.pt");
    Io.dump(List.of(random(1, DType.U8, 3), random(2, DType.F32, 2)), path);
    try (Arena arena = Arena.ofConfined();
        var channel = java.nio.channels.FileChannel.open(path)) {
      MemorySegment file =
          channel.map(java.nio.channels.FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      Map<String, MemorySegment> entries = StoredZip.entries(file, "a.pt");
      assertEquals(
          List.of("a/data.pkl", "a/byteorder", "a/data/0", "a/data/1", "a/version"),
          List.copyOf(entries.keySet()));
      for (MemorySegment entry : entries.values()) {
        assertEquals(0, (entry.address() - file.address()) % 64);
      }
    }
    try (var zip = new java.util.zip.ZipFile(path.toFile())) {
      for (var entry : java.util.Collections.list(zip.entries())) {
        zip.getInputStream(entry).readAllBytes();
      }
    }
  }

  @Test
  void loadsAndDumpsByEnding() {
    Path json = folder.resolve("a.json");
    Io.dump(Map.of("a", 1), json);
    assertEquals(Map.of("a", 1L), Io.load(json));
    Path plain = folder.resolve("a.safetensors");
    Tensor tensor = random(1, DType.F32, 2);
    Io.dump(Map.of("x.0", tensor), plain);
    assertSameBytes(tensor, ((Map<?, ?>) Io.load(plain)).get("x.0"));
    Path lists = folder.resolve("b.safetensors");
    Map<String, List<Tensor>> recording =
        Map.of("model_input", List.of(tensor, random(2, DType.I64, 1)));
    Io.dump(recording, lists);
    List<?> read = (List<?>) ((Map<?, ?>) Io.load(lists)).get("model_input");
    assertEquals(2, read.size());
    assertSameBytes(recording.get("model_input").get(1), read.get(1));
    for (Path bad : List.of(folder.resolve("a.txt"), folder.resolve("a"))) {
      assertThrows(IllegalArgumentException.class, () -> Io.load(bad));
      assertThrows(IllegalArgumentException.class, () -> Io.dump(Map.of(), bad));
    }
    assertThrows(IllegalArgumentException.class, () -> Io.dump(List.of(), plain));
    assertThrows(IllegalArgumentException.class, () -> Io.dump(Map.of("a", 1), plain));
    assertThrows(
        IllegalArgumentException.class, () -> Io.dump(new Object(), folder.resolve("a.pt")));
    assertNull(Io.load(dumped(null)));
    assertEquals(true, Io.load(dumped(true)));
  }

  private Path dumped(Object value) {
    Path path = folder.resolve("value.pkl");
    Io.dump(value, path);
    return path;
  }

  @Test
  void writesStridedTensors() {
    Tensor tensor = random(3, DType.F32, 3, 4);
    Path path = folder.resolve("a.pt");
    Io.dump(tensor.transpose(0, 1), path);
    assertSameBytes(Ops.copy(tensor.transpose(0, 1)), Io.load(path));
    assertTrue(Files.exists(path));
  }

  @Test
  void opensCheckpoints() throws IOException {
    Tensor first = random(1, DType.BF16, 3, 5);
    Tensor second = random(2, DType.F32, 4);
    Io.dump(Map.of("a", first, "step", 7), folder.resolve("m-1.bin"));
    Io.dump(Map.of("b", second), folder.resolve("m-2.bin"));
    Path index = folder.resolve("pytorch_model.bin.index.json");
    Json.write(index, Map.of("weight_map", Map.of("a", "m-1.bin", "b", "m-2.bin")));
    for (Path path : List.of(folder, index)) {
      try (TensorSource source = TensorSource.open(path)) {
        assertEquals(2, source.names().size());
        assertSameBytes(first, source.get("a"));
        assertSameBytes(second, source.get("b"));
        assertThrows(java.util.NoSuchElementException.class, () -> source.get("step"));
      }
    }
    Json.write(index, Map.of("weight_map", Map.of("a", "m-2.bin")));
    FileFormatException e =
        assertThrows(FileFormatException.class, () -> TensorSource.open(folder));
    assertEquals(
        index + ": tensor 'a' is not in m-2.bin, where the index says it is", e.getMessage());
    Files.copy(folder.resolve("m-1.bin"), folder.resolve("pytorch_model.bin"));
    TensorSource single = TensorSource.open(folder);
    Tensor tensor = single.get("a");
    single.close();
    assertThrows(IllegalStateException.class, () -> tensor.get(0, 0));
    Io.dump(Map.of("a", second), folder.resolve("model.safetensors"));
    try (TensorSource source = TensorSource.open(folder)) {
      assertSameBytes(second, source.get("a"));
    }
  }
}
