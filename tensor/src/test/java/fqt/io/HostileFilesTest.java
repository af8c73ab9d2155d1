package fqt.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged files: each is read as what it says, or refused with one sentence that names the file; no
 * other exception, no hang. {@code mvn verify -Phostile} tries many more.
 */
@Timeout(600)
class HostileFilesTest {
  private static final int ROUNDS = Integer.getInteger("fqt.mutations", 1);
  private static final String HEADER =
      "{\"__metadata__\":{\"format\":\"pt\"},"
          + "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
          + "\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[24,26]},"
          + "\"c\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[26,27]}}";

  @TempDir private Path folder;

  private interface Reader {
    void read() throws IOException;
  }

  /** Returns whether the file was taken. */
  private static boolean takenOrRefused(Reader reader, String name, byte[] bytes)
      throws IOException {
    try {
      reader.read();
      return true;
    } catch (FileFormatException e) {
      assertTrue(e.getMessage().contains(name), e.getMessage());
      assertFalse(e.getMessage().contains("\n"), e.getMessage());
      return false;
    } catch (RuntimeException | Error e) {
      throw new AssertionError("file " + HexFormat.of().formatHex(bytes), e);
    }
  }

  @Test
  void safetensorsHeaders() throws IOException {
    Mutator mutator = new Mutator(1);
    byte[] original = SafetensorsTest.file(HEADER, 27);
    Path path = Path.of("x.safetensors");
    int taken = 0;
    int cases = 40_000 * ROUNDS;
    for (int i = 0; i < cases; i++) {
      byte[] bytes = mutator.mutate(original);
      Reader reader =
          () -> {
            SafetensorsHeader header = SafetensorsHeader.read(MemorySegment.ofArray(bytes), path);
            long covered = 0;
            for (TensorEntry entry : header.entries().values()) {
              assertTrue(entry.begin() >= 8 && entry.begin() + entry.byteSize() <= bytes.length);
              covered += entry.byteSize();
            }
            assertTrue(covered <= bytes.length - 8);
          };
      taken += takenOrRefused(reader, "x.safetensors", bytes) ? 1 : 0;
    }
    assertTrue(taken > cases / 100 && taken < cases / 2, taken + " of " + cases + " were taken");
  }

  @Test
  void safetensorsFiles() throws IOException {
    Mutator mutator = new Mutator(2);
    byte[] original = SafetensorsTest.file(HEADER, 27);
    Path path = folder.resolve("x.safetensors");
    for (int i = 0; i < 500 * ROUNDS; i++) {
      byte[] bytes = mutator.mutate(original);
      Files.write(path, bytes);
      takenOrRefused(() -> readAll(path), "x.safetensors", bytes);
    }
  }

  private static void readAll(Path path) {
    try (Safetensors file = Safetensors.open(path)) {
      for (TensorEntry entry : file.entries()) {
        Tensor tensor = file.get(entry.name());
        assertEquals(entry.byteSize(), tensor.byteSize());
        MemorySegment copy = MemorySegment.ofArray(new byte[Math.toIntExact(tensor.byteSize())]);
        copy.copyFrom(tensor.segment());
      }
    }
  }

  /** Names that a file brings along go into messages, and from there to a terminal. */
  @Test
  void messagesStayOnOneLine() {
    FileFormatException e = new FileFormatException("x: shard 'a\n\u001b[2Jb' is missing");
    assertTrue(e.getMessage().equals("x: shard 'a??[2Jb' is missing"), e.getMessage());
  }

  @Test
  void indexes() throws IOException {
    Mutator mutator = new Mutator(3);
    Files.write(folder.resolve("m-1.safetensors"), SafetensorsTest.file(HEADER, 27));
    String index =
        "{\"metadata\":{\"total_size\":27},\"weight_map\":"
            + "{\"a\":\"m-1.safetensors\",\"c\":\"m-1.safetensors\"}}";
    Path path = folder.resolve("model.safetensors.index.json");
    for (int i = 0; i < 1000 * ROUNDS; i++) {
      byte[] bytes = mutator.mutate(index.getBytes(StandardCharsets.UTF_8));
      Files.write(path, bytes);
      takenOrRefused(() -> readAll(path), "index.json", bytes);
    }
  }

  @Test
  void configurations() throws IOException {
    Mutator mutator = new Mutator(4);
    Path fixture = Path.of(System.getProperty("fqt.fixtures"), "tiny-llama", "config.json");
    byte[] original = Files.readAllBytes(fixture);
    int taken = 0;
    int cases = 20_000 * ROUNDS;
    for (int i = 0; i < cases; i++) {
      byte[] bytes = mutator.mutate(original);
      Reader reader =
          () -> {
            JsonObject config = JsonObject.of(Json.parse(bytes, "config.json"), "config.json");
            assertEquals(config.values(), Json.parse(Json.write(config), "again"));
            config.getInt("hidden_size");
            config.getObject("rope_parameters").getDouble("rope_theta");
          };
      taken += takenOrRefused(reader, "config.json", bytes) ? 1 : 0;
    }
    assertTrue(taken > cases / 100 && taken < cases / 2, taken + " of " + cases + " were taken");
  }

  private static int torchCases(String fixture, long seed, int cases) throws IOException {
    Mutator mutator = new Mutator(seed);
    byte[] original =
        Files.readAllBytes(Path.of(System.getProperty("fqt.fixtures"), "torch", fixture));
    int taken = 0;
    for (int i = 0; i < cases * ROUNDS; i++) {
      byte[] bytes = mutator.mutate(original);
      Reader reader = () -> touch(TorchReader.read(MemorySegment.ofArray(bytes), "x.pt"));
      taken += takenOrRefused(reader, "x.pt", bytes) ? 1 : 0;
    }
    return taken;
  }

  /** Reads the corners of every tensor: views must not leave their storage. */
  private static void touch(Object value) {
    switch (value) {
      case Map<?, ?> map -> map.values().forEach(HostileFilesTest::touch);
      case List<?> list -> list.forEach(HostileFilesTest::touch);
      case Tensor tensor when tensor.count() > 0 -> {
        long[] last = tensor.shape().toArray();
        for (int i = 0; i < last.length; i++) {
          last[i]--;
        }
        tensor.get(new long[last.length]);
        tensor.get(last);
      }
      case null, default -> {}
    }
  }

  @Test
  void torchZips() throws IOException {
    assertTrue(torchCases("zip.pt", 5, 10_000) > 100);
    assertTrue(torchCases("plain.pt", 6, 10_000) > 100);
  }

  @Test
  void torchOldFormat() throws IOException {
    assertTrue(torchCases("old.pt", 7, 10_000) > 100);
  }

  @Test
  void pickles() throws IOException {
    assertTrue(torchCases("recording2.pkl", 8, 5000) > 100);
    assertTrue(torchCases("recording4.pkl", 9, 10_000) > 100);
  }
}
