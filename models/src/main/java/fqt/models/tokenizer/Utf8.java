package fqt.models.tokenizer;

import java.util.Arrays;

/**
 * UTF-8 in which nothing fails: what is not well-formed becomes U+FFFD, one for each maximal part
 * of a sequence (the Unicode Standard, section 3.9, "U+FFFD substitution of maximal subparts").
 */
final class Utf8 {
  private static final char REPLACEMENT = '\uFFFD';

  private Utf8() {}

  /** Encodes a range of characters. */
  static byte[] encode(char[] text, int from, int to) {
    byte[] bytes = new byte[Math.multiplyExact(3, to - from)];
    int at = 0;
    for (int i = from; i < to; i++) {
      char c = text[i];
      if (c < 0x80) {
        bytes[at++] = (byte) c;
      } else if (c < 0x800) {
        bytes[at++] = (byte) (0xC0 | c >> 6);
        bytes[at++] = (byte) (0x80 | c & 0x3F);
      } else if (Character.isHighSurrogate(c)
          && i + 1 < to
          && Character.isLowSurrogate(text[i + 1])) {
        int point = Character.toCodePoint(c, text[++i]);
        bytes[at++] = (byte) (0xF0 | point >> 18);
        bytes[at++] = (byte) (0x80 | point >> 12 & 0x3F);
        bytes[at++] = (byte) (0x80 | point >> 6 & 0x3F);
        bytes[at++] = (byte) (0x80 | point & 0x3F);
      } else {
        int point = Character.isSurrogate(c) ? REPLACEMENT : c;
        bytes[at++] = (byte) (0xE0 | point >> 12);
        bytes[at++] = (byte) (0x80 | point >> 6 & 0x3F);
        bytes[at++] = (byte) (0x80 | point & 0x3F);
      }
    }
    return Arrays.copyOf(bytes, at);
  }

  /**
   * Decodes the first bytes of an array.
   *
   * @param last whether nothing follows; otherwise a sequence that may yet be completed is left
   * @return how many bytes were used up
   */
  static int decode(byte[] bytes, int length, boolean last, StringBuilder out) {
    int start = 0;
    while (start < length) {
      int lead = Byte.toUnsignedInt(bytes[start]);
      int size = size(lead);
      int end = start + 1;
      while (end < start + size && end < length && continues(lead, end - start, bytes[end])) {
        end++;
      }
      if (end == start + size) {
        out.appendCodePoint(point(bytes, start, size));
      } else if (end == length && !last && size > 0) {
        return start;
      } else {
        out.append(REPLACEMENT);
      }
      start = end;
    }
    return start;
  }

  /** Bytes of the sequence that a byte begins, 0 if none. */
  private static int size(int lead) {
    if (lead < 0x80) {
      return 1;
    }
    if (lead < 0xC2 || lead > 0xF4) {
      return 0;
    }
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  }

  /** Whether a byte may follow; the second is limited so that each character has one form. */
  private static boolean continues(int lead, int index, byte next) {
    int b = Byte.toUnsignedInt(next);
    int lowest = 0x80;
    int highest = 0xBF;
    if (index == 1) {
      switch (lead) {
        case 0xE0 -> lowest = 0xA0;
        case 0xED -> highest = 0x9F;
        case 0xF0 -> lowest = 0x90;
        case 0xF4 -> highest = 0x8F;
        default -> {}
      }
    }
    return b >= lowest && b <= highest;
  }

  private static int point(byte[] bytes, int start, int size) {
    int lead = Byte.toUnsignedInt(bytes[start]);
    if (size == 1) {
      return lead;
    }
    int point = lead & (1 << 7 - size) - 1;
    for (int i = 1; i < size; i++) {
      point = point << 6 | bytes[start + i] & 0x3F;
    }
    return point;
  }
}
