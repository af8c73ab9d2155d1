package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.FileFormatException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Data files and the windows cut from them; each character is a token here. */
class TokenDataTest {
  private static final int END = 7;

  @TempDir Path folder;

  @Test
  void textIsOneDocument() throws IOException {
    TokenData data = load(write("a.txt", "ab\ncd\n"));
    assertArrayEquals("ab\ncd\n".chars().toArray(), data.ids());
  }

  @Test
  void documentsOfLinesAreJoinedByEndOfText() throws IOException {
    TokenData data = load(write("a.jsonl", "{\"text\": \"ab\"}\n\n{\"id\": 3, \"text\": \"c\"}\n"));
    assertArrayEquals(new int[] {'a', 'b', END, 'c'}, data.ids());
  }

  @Test
  void aLineWithoutTextIsNamed() throws IOException {
    String file = write("a.jsonl", "{\"text\": \"ab\"}\n{\"txt\": \"c\"}\n");
    String message = assertThrows(FileFormatException.class, () -> load(file)).getMessage();
    assertTrue(message.contains("a.jsonl line 2") && message.contains("text"), message);
  }

  @Test
  void idsComeFromTheNamedTensor() throws IOException {
    String file =
        safetensors(
            "{\"ids\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                + "\"more\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[12,28]}}",
            ByteBuffer.allocate(28)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(5)
                .putInt(6)
                .putInt(8)
                .putLong(100)
                .putLong(101));
    assertArrayEquals(new int[] {5, 6, 8}, load(file).ids());
    assertArrayEquals(new int[] {100, 101}, load(file + ":more").ids());
    String message = assertThrows(RuntimeException.class, () -> load(file + ":other")).getMessage();
    assertTrue(message.contains("'other'"), message);
  }

  @Test
  void rowsStayWholeAndInOrder() throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < 6; i++) {
      bytes.putInt(i);
    }
    String file =
        safetensors("{\"ids\":{\"dtype\":\"I32\",\"shape\":[3,2],\"data_offsets\":[0,24]}}", bytes);
    List<int[]> sample = load(file).sample(2, 512, 99);
    assertEquals(2, sample.size());
    assertArrayEquals(new int[] {0, 1}, sample.get(0));
    assertArrayEquals(new int[] {2, 3}, sample.get(1));
    assertEquals(3, load(file).sample(10, 512, 99).size());
  }

  @Test
  void windowsDropTheTail() {
    TokenData data = new TokenData("test", new int[] {0, 1, 2, 3, 4, 5, 6}, 0);
    List<int[]> windows = data.windows(3);
    assertEquals(2, windows.size());
    assertArrayEquals(new int[] {3, 4, 5}, windows.get(1));
    assertThrows(IllegalArgumentException.class, () -> data.windows(8));
  }

  @Test
  void samplesAreDrawnWithoutReplacementBySeed() {
    int[] ids = new int[1000];
    Arrays.setAll(ids, i -> i);
    TokenData data = new TokenData("test", ids, 0);
    Set<Integer> starts = new HashSet<>();
    for (int[] window : data.sample(60, 10, 3)) {
      assertEquals(0, window[0] % 10);
      assertEquals(window[0] + 9, window[9]);
      assertTrue(starts.add(window[0]), "window " + window[0] + " was drawn twice");
    }
    assertEquals(first(data, 3), first(data, 3));
    assertTrue(!first(data, 3).equals(first(data, 4)), "the seed makes no difference");
    assertEquals(100, data.sample(500, 10, 3).size());
  }

  private static List<Integer> first(TokenData data, long seed) {
    return data.sample(60, 10, seed).stream().map(window -> window[0]).toList();
  }

  @Test
  void unknownIdsEndingsAndFilesAreRefused() throws IOException {
    String text = write("a.txt", "a\u20ac");
    assertEquals(
        text + ": token 1 is 8364; the model knows ids 0 to 255",
        assertThrows(FileFormatException.class, () -> load(text)).getMessage());
    assertThrows(IllegalArgumentException.class, () -> load(write("a.csv", "a")));
    assertThrows(IllegalArgumentException.class, () -> load(folder + "/a.safetensorsx"));
    assertThrows(UncheckedIOException.class, () -> load(folder + "/missing.txt"));
    Path broken = folder.resolve("broken.txt");
    Files.write(broken, new byte[] {'a', (byte) 0xff});
    assertEquals(
        broken + " is not text in UTF-8",
        assertThrows(FileFormatException.class, () -> load(broken.toString())).getMessage());
  }

  private static TokenData load(String source) {
    return TokenData.load(
        source, () -> new TokenData.Encoder(text -> text.chars().toArray(), END), 256);
  }

  private String write(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text).toString();
  }

  private String safetensors(String header, ByteBuffer data) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer file = ByteBuffer.allocate(8 + json.length + data.capacity());
    file.order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).put(json).put(data.array());
    return Files.write(folder.resolve("ids.safetensors"), file.array()).toString();
  }
}
