package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.FileFormatException;
import fqt.io.Json;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a tokenizer.json may say, on a model of 256 bytes and a few merges. */
class TokenizerFileTest {
  @TempDir private Path folder;

  private final Map<String, Object> vocabulary = new LinkedHashMap<>();
  private final List<Object> merges = new ArrayList<>();
  private final List<Object> added = new ArrayList<>();
  private final Map<String, Object> model = new LinkedHashMap<>();
  private final Map<String, Object> root = new LinkedHashMap<>();

  TokenizerFileTest() {
    for (int b = 0; b < 256; b++) {
      vocabulary.put(String.valueOf(ByteLevel.spell(b)), b);
    }
    merge("h", "e"); // 256
    merge("l", "l"); // 257
    merge("he", "ll"); // 258
    merge("Ġ", "a"); // 259
    model.put("type", "BPE");
    model.put("vocab", vocabulary);
    model.put("merges", merges);
    root.put("added_tokens", added);
    root.put("normalizer", Map.of("type", "NFC"));
    root.put("pre_tokenizer", byteLevel(false, true));
    root.put("decoder", Map.of("type", "ByteLevel"));
    root.put("model", model);
  }

  private void merge(String left, String right) {
    merges.add(merges.size() % 2 == 0 ? left + " " + right : List.of(left, right));
    vocabulary.put(left + right, vocabulary.size());
  }

  private static Map<String, Object> byteLevel(boolean prefixSpace, boolean regex) {
    return Map.of("type", "ByteLevel", "add_prefix_space", prefixSpace, "use_regex", regex);
  }

  private static Map<String, Object> split(String regex, String behavior, boolean invert) {
    return Map.of(
        "type", "Split", "pattern", Map.of("Regex", regex), "behavior", behavior, "invert", invert);
  }

  private static Map<String, Object> sequence(String name, Object... steps) {
    return Map.of("type", "Sequence", name, List.of(steps));
  }

  private void add(int id, String content, String... flags) {
    Map<String, Object> token = new LinkedHashMap<>();
    token.put("id", id);
    token.put("content", content);
    for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized", "special")) {
      token.put(flag, Arrays.asList(flags).contains(flag));
    }
    added.add(token);
  }

  private Tokenizer load() {
    Path file = folder.resolve("tokenizer.json");
    Json.write(file, root);
    return Tokenizer.load(folder);
  }

  private void assertIds(String text, int... ids) {
    assertArrayEquals(ids, load().encode(text), text);
  }

  @Test
  void mergesInBothSpellings() {
    assertIds("hello a", 258, 'o', 259);
    assertIds("heLL", 256, 'L', 'L');
    model.remove("type");
    assertIds("hello", 258, 'o');
  }

  @Test
  void addedTokensAreFoundFirstAndTheLongestWins() {
    add(300, "<a>");
    add(301, "<a>b");
    add(302, "ell");
    assertIds("<a>bh<a>ello", 301, 'h', 300, 302, 'o');
    assertIds("<a", '<', 'a');
  }

  @Test
  void addedTokensStripAndStandAlone() {
    add(300, "<l>", "lstrip");
    add(301, "<r>", "rstrip");
    add(302, "one", "single_word");
    assertIds("a \n<l> b", 'a', 300, 32, 'b');
    assertIds("a <r> \u00a0 b", 'a', 32, 301, 'b');
    assertIds("<r>  <l>", 301, 300);
    assertIds("one,one", 302, ',', 302);
    assertIds("one_", 'o', 'n', 'e', '_');
    assertIds("éone", 0xC3, 0xA9, 'o', 'n', 'e');
  }

  @Test
  void addedTokensAreFoundBeforeOrAfterNormalization() {
    add(300, "e\u0301x", "normalized");
    add(301, "e\u0301y");
    assertIds("éx", 300);
    assertIds("e\u0301x", 300);
    assertIds("éy", 0xC3, 0xA9, 'y');
    assertIds("e\u0301y", 301);
  }

  @Test
  void addedTokenOfTheModelKeepsItsNumber() {
    add(999, "hell");
    assertIds("hello", 258, 'o');
    assertEquals(259 + 1, load().size());
  }

  @Test
  void normalizesAsAsked() {
    assertIds("e\u0301", 0xC3, 0xA9);
    root.put("normalizer", sequence("normalizers", Map.of("type", "NFKC")));
    assertIds("\ufb01", 'f', 'i');
    root.put("normalizer", Map.of("type", "NFD"));
    assertIds("é", 'e', 0xCC, 0x81);
    root.put("normalizer", null);
    assertIds("e\u0301", 'e', 0xCC, 0x81);
  }

  @Test
  void prefixSpace() {
    add(300, "<x>");
    root.put("pre_tokenizer", byteLevel(true, true));
    assertIds("a<x>a", 259, 300, 259);
    assertIds(" a", 259);
  }

  @Test
  void everyFormOfWords() {
    Map<String, Object> bytes = byteLevel(false, false);
    merge("1", "2"); // 260
    merge("12", "3"); // 261
    merge("o", "Ġa"); // 262
    assertIds("123o a", 261, 'o', 259);
    root.put(
        "pre_tokenizer",
        sequence("pretokenizers", split(Splitter.QWEN2.pattern(), "Isolated", false), bytes));
    assertIds("123o a", '1', '2', '3', 'o', 259);
    root.put(
        "pre_tokenizer",
        sequence("pretokenizers", split(Splitter.LLAMA3.pattern(), "Removed", true), bytes));
    assertIds("1231o a", 261, '1', 'o', 259);
    root.put("pre_tokenizer", bytes);
    assertIds("o a", 262);
  }

  @Test
  void ignoresMergesForWordsThatAreTokens() {
    vocabulary.put("hello", 260);
    assertIds("hello", 258, 'o');
    model.put("ignore_merges", true);
    assertIds("hello", 260);
    assertIds("hellohello", 258, 'o', 258, 'o');
  }

  @Test
  void framesTexts() {
    Map<String, Object> template = new LinkedHashMap<>();
    template.put("type", "TemplateProcessing");
    template.put(
        "single",
        List.of(
            Map.of("SpecialToken", Map.of("id", "<b>", "type_id", 0)),
            Map.of("Sequence", Map.of("id", "A", "type_id", 0)),
            Map.of("SpecialToken", Map.of("id", "<e>", "type_id", 0))));
    template.put(
        "special_tokens",
        Map.of("<b>", Map.of("ids", List.of(300)), "<e>", Map.of("ids", List.of(301, 302))));
    root.put("post_processor", sequence("processors", Map.of("type", "ByteLevel"), template));
    assertIds("a", 300, 'a', 301, 302);
    assertArrayEquals(new int[] {'a'}, load().encode("a", false));
  }

  private void refused(String sentence) {
    FileFormatException e = assertThrows(FileFormatException.class, this::load);
    assertEquals(folder.resolve("tokenizer.json") + sentence, e.getMessage());
  }

  @Test
  void refusesOtherPartsByName() {
    model.put("type", "WordPiece");
    refused(": model: type is \"WordPiece\", expected BPE, the only model that is supported");
    model.put("type", "BPE");
    root.put("normalizer", Map.of("type", "Lowercase"));
    refused(": normalizer: type is \"Lowercase\", expected NFC, NFD, NFKC, NFKD or Sequence");
    root.put("normalizer", null);
    root.put("pre_tokenizer", Map.of("type", "Metaspace"));
    refused(": pre_tokenizer: type is \"Metaspace\", expected ByteLevel");
    root.put(
        "pre_tokenizer",
        sequence("pretokenizers", split("\\w+", "Isolated", false), byteLevel(false, false)));
    refused(
        ": pre_tokenizer: pretokenizers[0]: pattern: Regex is \"\\w+\", expected the pattern of"
            + " GPT-2, Llama 3 or Qwen2");
    root.put(
        "pre_tokenizer",
        sequence(
            "pretokenizers",
            split(Splitter.QWEN2.pattern(), "Removed", false),
            byteLevel(false, false)));
    refused(": pre_tokenizer: pretokenizers[0]: behavior is \"Removed\", expected Isolated");
    root.put("pre_tokenizer", byteLevel(false, true));
    root.put("decoder", Map.of("type", "WordPiece"));
    refused(": decoder: type is \"WordPiece\", expected ByteLevel");
    root.put("decoder", Map.of("type", "ByteLevel"));
    root.put("post_processor", Map.of("type", "BertProcessing"));
    refused(
        ": post_processor: type is \"BertProcessing\", expected ByteLevel, TemplateProcessing or"
            + " Sequence");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "dropout|0.1|0.1, expected none",
        "continuing_subword_prefix|\"##\"|\"##\", expected none: only byte-level models are"
            + " supported",
        "byte_fallback|true|true, expected false: only byte-level models are supported"
      })
  void refusesModelOptionsByName(String name, String json, String sentence) {
    model.put(name, Json.parse(json, "test"));
    refused(": model: " + name + " is " + sentence);
  }

  @Test
  void refusesInconsistentVocabularies() {
    merges.add("h x y");
    refused(": model: merges[4] is \"h x y\", expected two tokens");
    merges.set(4, List.of("h", "zz"));
    refused(": model: merges[4] needs token 'zz', which is not in the vocabulary");
    merges.remove(4);
    vocabulary.put("again", 256);
    refused(": model: vocab: 'he' and 'again' are both number 256");
    vocabulary.put("again", 1L << 40);
    refused(": model: vocab: again is 1099511627776, expected a token number from 0 to 4194304");
  }

  @Test
  void saysWhatItIs() {
    assertTrue(load().toString().contains("260 tokens"), load().toString());
  }
}
