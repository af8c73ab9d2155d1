package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.FileFormatException;
import fqt.io.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged tokenizer.json files: each is refused with one sentence, or gives a tokenizer that works
 * on any text. {@code mvn verify -Phostile} tries many more.
 */
@Timeout(600)
class HostileTokenizerTest {
  private static final int ROUNDS = Integer.getInteger("fqt.mutations", 1);
  private static final String TEXT = "Hello  wörld's\n<|im_start|>12 3\u0301<|im_end|> \t😀";

  @TempDir private Path folder;

  /** The fixture's rules with a vocabulary of bytes and few merges, so that cases are quick. */
  private static Map<String, Object> small() {
    Path fixture = Path.of(System.getProperty("fqt.fixtures"), "tiny-qwen2", "tokenizer.json");
    Map<String, Object> root = new LinkedHashMap<>(Json.readObject(fixture).values());
    Map<String, Object> vocabulary = new LinkedHashMap<>();
    for (int b = 0; b < 256; b++) {
      vocabulary.put(String.valueOf(ByteLevel.spell(b)), (long) b);
    }
    vocabulary.put("he", 256L);
    vocabulary.put("ll", 257L);
    Map<String, Object> model = new LinkedHashMap<>();
    model.put("type", "BPE");
    model.put("vocab", vocabulary);
    model.put("merges", List.of("h e", List.of("l", "l")));
    root.put("model", model);
    return root;
  }

  /** A copy of a value in which one node, chosen at random, is something else. */
  private static Object damage(Object value, Random random) {
    if (value instanceof Map<?, ?> map && !map.isEmpty() && random.nextInt(8) > 0) {
      Map<Object, Object> copy = new LinkedHashMap<>(map);
      Object key = List.copyOf(map.keySet()).get(random.nextInt(map.size()));
      if (random.nextInt(6) == 0) {
        copy.remove(key);
      } else {
        copy.put(key, damage(map.get(key), random));
      }
      return copy;
    }
    if (value instanceof List<?> list && !list.isEmpty() && random.nextInt(8) > 0) {
      List<Object> copy = new ArrayList<>(list);
      int index = random.nextInt(list.size());
      switch (random.nextInt(4)) {
        case 0 -> copy.remove(index);
        case 1 -> copy.add(copy.get(index));
        default -> copy.set(index, damage(list.get(index), random));
      }
      return copy;
    }
    Object[] others = {
      null,
      true,
      false,
      0L,
      -1L,
      255L,
      1170L,
      1L << 22,
      Long.MAX_VALUE,
      0.5,
      "",
      "a",
      "Ġ",
      "NFC",
      "BPE",
      "Split",
      "ByteLevel",
      "Sequence",
      "<|im_end|>",
      "\u0000",
      List.of(),
      Map.of(),
      List.of("a", "b"),
      Map.of("type", "ByteLevel")
    };
    return others[random.nextInt(others.length)];
  }

  /** Returns whether the file was taken. */
  private boolean takenOrRefused(Path file) {
    try {
      Tokenizer tokenizer = Tokenizer.load(file);
      int[] ids = tokenizer.encode(TEXT);
      for (int id : ids) {
        tokenizer.isSpecial(id);
      }
      String text = tokenizer.decode(ids);
      assertEquals(text, tokenizer.decode(tokenizer.encode(TEXT)));
      return true;
    } catch (FileFormatException e) {
      assertTrue(e.getMessage().contains("tokenizer.json"), e.getMessage());
      assertFalse(e.getMessage().contains("\n"), e.getMessage());
      return false;
    } catch (IllegalArgumentException e) {
      assertTrue(e.getMessage().startsWith("the vocabulary has no token for byte"), e.toString());
      return true;
    }
  }

  @Test
  void damagedValues() {
    Random random = new Random(1);
    Map<String, Object> original = small();
    Path file = folder.resolve("tokenizer.json");
    int taken = 0;
    int cases = 1500 * ROUNDS;
    for (int i = 0; i < cases; i++) {
      Object damaged = original;
      for (int changes = 1 + random.nextInt(3); changes > 0; changes--) {
        damaged = damage(damaged, random);
      }
      write(file, Json.write(damaged));
      taken += takenOrRefused(file) ? 1 : 0;
    }
    assertTrue(taken > cases / 50 && taken < cases, taken + " of " + cases + " were taken");
  }

  @Test
  void damagedBytes() {
    Random random = new Random(2);
    char[] original = Json.write(small()).toCharArray();
    Path file = folder.resolve("tokenizer.json");
    for (int i = 0; i < 1500 * ROUNDS; i++) {
      char[] damaged = original.clone();
      for (int changes = 1 + random.nextInt(3); changes > 0; changes--) {
        damaged[random.nextInt(damaged.length)] = (char) random.nextInt(128);
      }
      String text = new String(damaged);
      write(file, random.nextBoolean() ? text : text.substring(0, random.nextInt(text.length())));
      takenOrRefused(file);
    }
  }

  private static void write(Path file, String text) {
    try {
      Files.writeString(file, text);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
