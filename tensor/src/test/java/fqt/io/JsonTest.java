package fqt.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JsonTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  private static JsonObject object(String text) {
    return JsonObject.of(Json.parse(text, "x.json"), "x.json");
  }

  private static String complaint(String text) {
    return assertThrows(FileFormatException.class, () -> Json.parse(text, "x.json")).getMessage();
  }

  @Test
  void readsEveryKindOfValue() {
    Map<String, Object> expected = new LinkedHashMap<>();
    expected.put("b", Arrays.asList(1L, -2.5, true, false, null, "é\n"));
    expected.put("a", Map.of());
    expected.put("c", Long.MIN_VALUE);
    expected.put("d", new BigInteger("1000000000000000019884624838656"));
    String text =
        """
        {"b": [1, -2.5, true, false, null, "\\u00e9\\n"], "a": {}, "c": -9223372036854775808,
         "d": 1000000000000000019884624838656}""";
    Object value = Json.parse(text, "x.json");
    assertEquals(expected, value);
    assertEquals(List.of("😀"), Json.parse("[\"\\ud83d\\ude00\"]", "x.json"));
    assertEquals(List.copyOf(expected.keySet()), List.copyOf(((Map<?, ?>) value).keySet()));
  }

  @Test
  void writesWhatItReads() throws Exception {
    try (Stream<Path> files = Files.walk(FIXTURES)) {
      List<Path> found = files.filter(file -> file.toString().endsWith(".json")).toList();
      assertTrue(found.size() > 20, "fixtures are missing");
      for (Path file : found) {
        Object value = Json.read(file);
        assertEquals(value, Json.parse(Json.write(value), "compact"));
        assertEquals(value, Json.parse(Json.pretty(value), "pretty"));
      }
    }
  }

  @Test
  void writesCompactAndIndented() {
    Map<String, Object> value = new LinkedHashMap<>();
    value.put("z", List.of(1, 2.5, "\"\u0001"));
    value.put("a", Map.of());
    value.put("e", List.of());
    assertEquals("{\"z\":[1,2.5,\"\\\"\\u0001\"],\"a\":{},\"e\":[]}", Json.write(value));
    assertEquals(
        """
        {
          "z": [
            1,
            2.5,
            "\\"\\u0001"
          ],
          "a": {},
          "e": []
        }
        """,
        Json.pretty(value));
    assertThrows(IllegalArgumentException.class, () -> Json.write(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> Json.write("\ud83d"));
    assertEquals("\"😀\"", Json.write("😀"));
    assertThrows(IllegalArgumentException.class, () -> Json.write(List.of(new Object())));
  }

  @Test
  void writesFilesWhole(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("a.json");
    Files.writeString(file, "old");
    assertThrows(IllegalArgumentException.class, () -> Json.write(file, new Object()));
    assertEquals("old", Files.readString(file));
    Json.write(file, Map.of("k", 1));
    assertEquals("{\n  \"k\": 1\n}\n", Files.readString(file));
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(1, files.count());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "``|x.json is empty, expected JSON",
        "{\"a\": 1, \"a\": 2}|x.json names \"a\" twice at line 1",
        "[1] 2|x.json continues after the end of its JSON value at line 1",
        "[1e999]|x.json has a number beyond the range of a double at line 1",
        "[\"\\ud83d\\ude00\", \"\\ud83d\"]|x.json has half a surrogate pair at line 1",
      })
  void refusesWithOneSentence(String text, String sentence) {
    assertEquals(sentence, complaint(text));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {"{", "[1,", "[1 2]", "{\"a\"}", "NaN", "'a'", "[1,]", "\"\u0001\"", "// c", "01"})
  void refusesWhatIsNotJson(String text) {
    String message = complaint(text);
    assertTrue(message.startsWith("x.json is not valid JSON"), message);
    assertFalse(message.contains("\n"), message);
  }

  @Test
  void boundsDepthAndBytesThatAreNotUtf8() {
    assertEquals(List.of(), Json.parse("[]", "x.json"));
    String deep = "[".repeat(Json.MAX_DEPTH) + "]".repeat(Json.MAX_DEPTH);
    Json.parse(deep, "x.json");
    assertTrue(complaint("[" + deep + "]").contains("256"));
    assertTrue(complaint("[".repeat(1_000_000)).contains("256"));
    byte[] latin = "[\"é\"]".getBytes(StandardCharsets.ISO_8859_1);
    FileFormatException e =
        assertThrows(FileFormatException.class, () -> Json.parse(latin, "x.json"));
    assertEquals("x.json is not valid UTF-8", e.getMessage());
    byte[] utf16 = "[1]".getBytes(StandardCharsets.UTF_16);
    assertThrows(FileFormatException.class, () -> Json.parse(utf16, "x.json"));
  }

  @Test
  void namesTheFileThatCannotBeRead(@TempDir Path folder) {
    Path file = folder.resolve("absent.json");
    UncheckedIOException e = assertThrows(UncheckedIOException.class, () -> Json.read(file));
    assertEquals("cannot read " + file + ": no such file", e.getMessage());
  }

  @Test
  void typedAccess() {
    JsonObject config =
        object(
            """
            {"n": 7, "x": 2.5, "s": "t", "b": true, "none": null, "o": {"k": [1, 2]},
             "d": [1, 2.5], "t": ["a"], "r": [{"q": 3}]}""");
    assertEquals(7, config.getLong("n"));
    assertEquals(7, config.getInt("n", 1));
    assertEquals(7.0, config.getDouble("n"));
    assertEquals(2.5, config.getDouble("x"));
    assertEquals("t", config.getString("s"));
    assertTrue(config.getBoolean("b"));
    assertFalse(config.has("none"));
    assertEquals(3, config.getLong("none", 3));
    assertEquals("d", config.getString("none", "d"));
    assertArrayEquals(new long[] {1, 2}, config.getObject("o").getLongs("k"));
    assertArrayEquals(new double[] {1, 2.5}, config.getDoubles("d"));
    assertEquals(List.of("a"), config.getStrings("t"));
    assertEquals(3, config.getObjects("r").getFirst().getInt("q"));
    assertEquals(5, config.getObjectOrEmpty("none").getInt("k", 5));
  }

  private static void refused(String sentence, Runnable access) {
    assertEquals(sentence, assertThrows(FileFormatException.class, access::run).getMessage());
  }

  @Test
  void typedAccessRefusesWithOneSentence() {
    JsonObject config =
        object(
            """
            {"n": 3000000000, "s": "t", "o": {"k": [1, "2"]}, "none": null,
             "big": 1000000000000000019884624838656, "x": 1.5}""");
    refused("x.json: h is missing, expected an integer", () -> config.getLong("h"));
    refused("x.json: none is missing, expected a string", () -> config.getString("none"));
    refused("x.json: s is \"t\", expected an integer of 64 bits", () -> config.getLong("s", 1));
    refused("x.json: x is 1.5, expected an integer of 64 bits", () -> config.getLong("x"));
    refused("x.json: n is 3000000000, expected an integer of 32 bits", () -> config.getInt("n"));
    refused(
        "x.json: big is 1000000000000000019884624838656, expected an integer of 64 bits",
        () -> config.getLong("big"));
    refused("x.json: o is an object, expected true or false", () -> config.getBoolean("o"));
    refused("x.json: s is \"t\", expected an object", () -> config.getObject("s"));
    refused(
        "x.json: o: k[1] is \"2\", expected an integer of 64 bits",
        () -> config.getObject("o").getLongs("k"));
    refused("x.json: o: k[0] is 1, expected a string", () -> config.getObject("o").getStrings("k"));
    refused("x.json holds an array, expected a JSON object", () -> object("[]"));
  }
}
