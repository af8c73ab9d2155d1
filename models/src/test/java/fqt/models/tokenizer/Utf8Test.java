package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class Utf8Test {
  private static String decode(byte[] bytes, boolean last) {
    StringBuilder text = new StringBuilder();
    int used = Utf8.decode(bytes, bytes.length, last, text);
    return text + (last ? "" : "|" + (bytes.length - used));
  }

  @Test
  void everyCodePointThereAndBack() {
    for (int point = 0; point < 0x110000; point++) {
      if (point >= 0xD800 && point < 0xE000) {
        continue;
      }
      String text = Character.toString(point);
      byte[] bytes = Utf8.encode(text.toCharArray(), 0, text.length());
      assertArrayEquals(text.getBytes(StandardCharsets.UTF_8), bytes);
      assertEquals(text, decode(bytes, true));
    }
  }

  @Test
  void halfASurrogatePairBecomesAReplacement() {
    char[] text = "a\ud83db\ude00\ud83d".toCharArray();
    byte[] bytes = Utf8.encode(text, 0, text.length);
    assertEquals("a\ufffdb\ufffd\ufffd", new String(bytes, StandardCharsets.UTF_8));
  }

  /** Tables 3-8 to 3-11 of the Unicode Standard, and their like. */
  @ParameterizedTest
  @CsvSource({
    "41, A",
    "c0af, ??",
    "e080bff0818283, ???????",
    "eda080edbfbfedaf41, ????????A",
    "f4919293ff4180bf42, ?????A??B",
    "e180e2f09192f1bf41, ????A",
    "f09f98, ?",
    "e28241, ?A",
    "fe, ?"
  })
  void replacesMaximalParts(String hex, String text) {
    byte[] bytes = HexFormat.of().parseHex(hex);
    assertEquals(text.replace('?', '\ufffd'), decode(bytes, true));
  }

  @ParameterizedTest
  @CsvSource({"c3, |1", "41e282, A|2", "f09f98, |3", "41ff, A?|0", "e041, ?A|0", "eda0, ??|0"})
  void holdsBackWhatMayBeCompleted(String hex, String text) {
    byte[] bytes = HexFormat.of().parseHex(hex);
    assertEquals(text.replace('?', '\ufffd'), decode(bytes, false));
  }

  @Test
  void piecesAddUpToTheWhole() {
    Random random = new Random(3);
    for (int i = 0; i < 20_000; i++) {
      byte[] bytes = new byte[random.nextInt(12)];
      for (int j = 0; j < bytes.length; j++) {
        bytes[j] =
            (byte) (random.nextInt(3) == 0 ? random.nextInt(256) : 0x80 + random.nextInt(128));
      }
      StringBuilder whole = new StringBuilder();
      Utf8.decode(bytes, bytes.length, true, whole);
      StringBuilder pieces = new StringBuilder();
      byte[] pending = new byte[0];
      for (byte b : bytes) {
        pending = Arrays.copyOf(pending, pending.length + 1);
        pending[pending.length - 1] = b;
        int used = Utf8.decode(pending, pending.length, false, pieces);
        pending = Arrays.copyOfRange(pending, used, pending.length);
      }
      Utf8.decode(pending, pending.length, true, pieces);
      assertEquals(whole.toString(), pieces.toString(), HexFormat.of().formatHex(bytes));
    }
  }
}
