package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final Tokenizer QWEN = Tokenizer.load(FIXTURES.resolve("tiny-qwen2"));

  private static long[] widen(int[] ids) {
    return Arrays.stream(ids).asLongStream().toArray();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"tiny-qwen2", "tiny-qwen3", "tiny-qwen2moe", "tiny-qwen3moe", "tiny-llama"})
  void agreesWithTheReference(String model) {
    Tokenizer tokenizer = Tokenizer.load(FIXTURES.resolve(model));
    List<?> cases = (List<?>) Json.read(FIXTURES.resolve("tokenizer_cases.json"));
    assertTrue(cases.size() >= 14);
    for (Object row : cases) {
      JsonObject example = new JsonObject(cast(row), "tokenizer_cases.json");
      String text = example.getString("text");
      int[] ids = tokenizer.encode(text);
      assertArrayEquals(example.getLongs("ids"), widen(ids), text);
      assertEquals(Normalizer.normalize(text, Normalizer.Form.NFC), tokenizer.decode(ids));
    }
  }

  @SuppressWarnings("unchecked")
  private static java.util.Map<String, Object> cast(Object row) {
    return (java.util.Map<String, Object>) row;
  }

  @Test
  void agreesWithTheReferenceOnWholeDocuments() throws IOException {
    long[] expected;
    try (Safetensors file = Safetensors.open(FIXTURES.resolve("eval_ids.safetensors"))) {
      expected = file.get("ids").toLongs();
    }
    String text = QWEN.decode(Arrays.stream(expected).mapToInt(Math::toIntExact).toArray());
    assertArrayEquals(expected, widen(QWEN.encode(text)));
    String plain = Files.readString(FIXTURES.resolve("eval.txt"));
    assertEquals(
        plain.replaceAll("\\s+", ""), text.replace("<|endoftext|>", "").replaceAll("\\s+", ""));
  }

  @Test
  void decodesAnyText() {
    Random random = new Random(1);
    for (int i = 0; i < 2000; i++) {
      StringBuilder text = new StringBuilder();
      int length = random.nextInt(60);
      for (int j = 0; j < length; j++) {
        int point = random.nextInt(random.nextBoolean() ? 0x80 : 0x110000);
        text.appendCodePoint(point >= 0xD800 && point < 0xE000 ? ' ' : point);
      }
      int[] ids = QWEN.encode(text.toString());
      assertEquals(Normalizer.normalize(text, Normalizer.Form.NFC), QWEN.decode(ids));
      assertArrayEquals(ids, QWEN.encode(text.toString()), "the cache changed the answer");
    }
  }

  @Test
  void streamsWhatDecodeGives() {
    Random random = new Random(2);
    for (int i = 0; i < 2000; i++) {
      int[] ids = random.ints(random.nextInt(30), 0, QWEN.size() + 5).toArray();
      boolean skip = random.nextBoolean();
      StringBuilder text = new StringBuilder();
      TextStream stream = QWEN.stream(skip);
      for (int id : ids) {
        text.append(stream.next(id));
      }
      text.append(stream.finish());
      assertEquals(QWEN.decode(ids, skip), text.toString());
    }
    TextStream stream = QWEN.stream(false);
    int[] emoji = QWEN.encode("😀");
    assertTrue(emoji.length > 1, "the example needs a character of several tokens");
    for (int i = 0; i + 1 < emoji.length; i++) {
      assertEquals("", stream.next(emoji[i]));
    }
    assertEquals("😀", stream.next(emoji[emoji.length - 1]));
    stream.next(emoji[0]);
    assertEquals("\ufffd", stream.finish());
    assertEquals("", stream.finish());
  }

  @Test
  void knowsItsTokens() {
    assertEquals(1177, QWEN.size());
    assertEquals(OptionalInt.of(1170), QWEN.id("<|endoftext|>"));
    assertEquals(OptionalInt.empty(), QWEN.id("<|absent|>"));
    assertEquals("<|im_start|>", QWEN.token(1171));
    assertTrue(QWEN.isSpecial(1171));
    assertFalse(QWEN.isSpecial(17));
    int[] ids = QWEN.encode("<|im_start|>hi<|im_end|>");
    assertEquals("hi", QWEN.decode(ids, true));
    assertEquals("<|im_start|>hi<|im_end|>", QWEN.decode(ids, false));
    assertThrows(IndexOutOfBoundsException.class, () -> QWEN.token(1177));
    assertThrows(IndexOutOfBoundsException.class, () -> QWEN.decode(-1));
    assertEquals("", QWEN.decode(1279), "padding of the vocabulary has no text");
  }

  @Test
  @Timeout(60)
  void takesMegabytesOfOneKind() {
    for (String piece : List.of("a", " ", "\n", "'", "1", "\u0301", "<", "你", "😀", " \n")) {
      String text = piece.repeat((1 << 20) / piece.length());
      assertEquals(Normalizer.normalize(text, Normalizer.Form.NFC), QWEN.decode(QWEN.encode(text)));
    }
  }
}
