package fqt.io;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Random;

/** Damages files, reproducibly: flipped bits, cut ends, moved parts, extreme numbers. */
final class Mutator {
  private static final long[] LENGTHS = {
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    65535,
    65536,
    99_999_999,
    100_000_001,
    Integer.MAX_VALUE,
    Integer.MIN_VALUE,
    0xFFFFFFFFL,
    1L << 32,
    1L << 62,
    Long.MAX_VALUE,
    Long.MAX_VALUE - 8,
    Long.MIN_VALUE,
    -1,
    -2,
    -8
  };
  private static final String[] TEXTS = {
    "0",
    "-1",
    "1e3",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "2147483648",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[",
    "\"",
    "\\",
    "\\ud800",
    ",",
    ":",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    " ",
    "\u0000",
    "\ufeff",
    "\"dtype\":\"F64\"",
    "\"a\":",
    "__metadata__"
  };

  private final Random random;

  Mutator(long seed) {
    random = new Random(seed);
  }

  byte[] mutate(byte[] original) {
    byte[] bytes = original.clone();
    int changes = 1 + random.nextInt(3);
    for (int i = 0; i < changes; i++) {
      bytes = bytes.length == 0 ? new byte[] {(byte) random.nextInt(256)} : once(bytes);
    }
    return bytes;
  }

  private byte[] once(byte[] bytes) {
    int at = random.nextInt(bytes.length);
    int other = Math.min(bytes.length, at + 1 + random.nextInt(16));
    switch (random.nextInt(9)) {
      case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> bytes[at] = (byte) random.nextInt(256);
      case 2 -> {
        return replace(bytes, at, bytes.length, new byte[0]);
      }
      case 3 -> {
        return replace(bytes, at, other, new byte[0]);
      }
      case 4 -> {
        byte[] slice = new byte[other - at];
        System.arraycopy(bytes, at, slice, 0, slice.length);
        int to = random.nextInt(bytes.length);
        return replace(bytes, to, to, slice);
      }
      case 5 -> {
        byte[] text = TEXTS[random.nextInt(TEXTS.length)].getBytes(StandardCharsets.UTF_8);
        return replace(bytes, at, random.nextBoolean() ? at : other, text);
      }
      case 6 -> {
        return replaceNumber(bytes, at);
      }
      case 7 -> {
        byte[] more = new byte[1 + random.nextInt(20)];
        random.nextBytes(more);
        return replace(bytes, at, at, more);
      }
      default -> overwriteLength(bytes, at);
    }
    return bytes;
  }

  private static byte[] replace(byte[] bytes, int from, int to, byte[] by) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(bytes, 0, from);
    out.writeBytes(by);
    out.write(bytes, to, bytes.length - to);
    return out.toByteArray();
  }

  /** Replaces the decimal number at or after a position. */
  private byte[] replaceNumber(byte[] bytes, int at) {
    int from = at;
    while (from < bytes.length && !isDigit(bytes[from])) {
      from++;
    }
    int to = from;
    while (to < bytes.length && isDigit(bytes[to])) {
      to++;
    }
    String number = Long.toString(LENGTHS[random.nextInt(LENGTHS.length)]);
    return replace(bytes, from, to, number.getBytes(StandardCharsets.UTF_8));
  }

  private static boolean isDigit(byte b) {
    return b >= '0' && b <= '9';
  }

  /** Writes an extreme little-endian number of 2, 4 or 8 bytes. */
  private void overwriteLength(byte[] bytes, int at) {
    int from = random.nextInt(3) == 0 ? 0 : at;
    int width = Math.min(2 << random.nextInt(3), bytes.length - from);
    byte[] number =
        ByteBuffer.allocate(Long.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(LENGTHS[random.nextInt(LENGTHS.length)])
            .array();
    System.arraycopy(number, 0, bytes, from, width);
  }
}
