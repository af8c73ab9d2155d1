package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The splitters against the regular expressions that they stand for. */
class SplitterTest {
  private static final String[] PIECES = {
    "'s",
    "'T",
    "'re",
    "'VE",
    "'m",
    "'lL",
    "'d",
    "'ſ",
    "'r",
    "'l",
    "'",
    "''",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u0085",
    "\u2028",
    "\u001c",
    "\u200b",
    "a",
    "Z",
    "word",
    "é",
    "ß",
    "e\u0301",
    "你好",
    "ก็",
    "ʰ",
    "ǅ",
    "1",
    "22",
    "333",
    "4444",
    "٣",
    "Ⅷ",
    "½",
    "𝟘",
    "𝒜",
    "😀",
    "👩\u200d👧",
    "\ud83d",
    "\ude00",
    ".",
    "…",
    "!?",
    "_",
    "$",
    "\u0000",
    "\ufffd"
  };

  private static String random(Random random) {
    StringBuilder text = new StringBuilder();
    int pieces = random.nextInt(40);
    for (int i = 0; i < pieces; i++) {
      switch (random.nextInt(8)) {
        case 0 -> text.append((char) random.nextInt(1 << 16));
        case 1 -> text.appendCodePoint(random.nextInt(0x110000));
        case 2 -> text.append((char) random.nextInt(128));
        default -> text.append(PIECES[random.nextInt(PIECES.length)]);
      }
    }
    return text.toString();
  }

  static List<String> words(Splitter splitter, String text) {
    List<String> words = new ArrayList<>();
    char[] chars = text.toCharArray();
    for (int from = 0; from < chars.length; ) {
      int to = splitter.next(chars, from, chars.length);
      words.add(text.substring(from, to));
      from = to;
    }
    return words;
  }

  @ParameterizedTest
  @EnumSource(
      value = Splitter.class,
      names = {"GPT2", "LLAMA3", "QWEN2"})
  void agreesWithItsPattern(Splitter splitter) {
    assertSame(splitter, Splitter.of(splitter.pattern()));
    assertNull(Splitter.of(splitter.pattern() + "?"));
    Pattern pattern =
        Pattern.compile(
            splitter.pattern().replace("(?i:", "(?iu:"), Pattern.UNICODE_CHARACTER_CLASS);
    Random random = new Random(7);
    for (int i = 0; i < 30_000; i++) {
      String text = random(random);
      List<String> expected = new ArrayList<>();
      Matcher matcher = pattern.matcher(text);
      while (matcher.find()) {
        expected.add(matcher.group());
      }
      assertEquals(expected, words(splitter, text), () -> "text " + text);
    }
  }

  @ParameterizedTest
  @EnumSource(Splitter.class)
  void losesNothing(Splitter splitter) {
    Random random = new Random(11);
    for (int i = 0; i < 1000; i++) {
      String text = random(random);
      assertEquals(text, String.join("", words(splitter, text)));
    }
  }
}
