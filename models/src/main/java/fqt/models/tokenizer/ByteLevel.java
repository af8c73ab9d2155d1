package fqt.models.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * How byte-level vocabularies spell bytes: those that print in Latin-1 stand for themselves, the
 * others are U+0100, U+0101 … in their order (Radford et al. 2019, the GPT-2 encoder). A space is
 * {@code Ġ}, a line feed {@code Ċ}.
 */
final class ByteLevel {
  private static final char[] CHARS = new char[256];
  private static final short[] BYTES = new short[512];

  static {
    Arrays.fill(BYTES, (short) -1);
    char next = 256;
    for (int b = 0; b < 256; b++) {
      boolean prints = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
      CHARS[b] = prints ? (char) b : next++;
      BYTES[CHARS[b]] = (short) b;
    }
  }

  private ByteLevel() {}

  /** The character that spells a byte, given as 0 to 255. */
  static char spell(int unsignedByte) {
    return CHARS[unsignedByte];
  }

  static String spell(byte[] bytes) {
    char[] chars = new char[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      chars[i] = CHARS[Byte.toUnsignedInt(bytes[i])];
    }
    return new String(chars);
  }

  /** The bytes that a token spells; a token with any other character stands for itself. */
  static byte[] read(String token) {
    byte[] bytes = new byte[token.length()];
    for (int i = 0; i < bytes.length; i++) {
      char c = token.charAt(i);
      if (c >= BYTES.length || BYTES[c] < 0) {
        return token.getBytes(StandardCharsets.UTF_8);
      }
      bytes[i] = (byte) BYTES[c];
    }
    return bytes;
  }
}
