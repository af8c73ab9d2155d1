package fqt.io;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The entries of a zip file that compresses nothing, as PyTorch writes it, as views of the file
 * (PKWARE, "APPNOTE.TXT", sections 4.3 and 4.5.3). Compressed and encrypted entries are refused.
 *
 * <pre>
 *  entry 0: header, data | entry 1: header, data | … | central directory | [zip64 end] | end
 * </pre>
 */
final class StoredZip {
  static final int LOCAL = 0x04034b50;
  static final int CENTRAL = 0x02014b50;
  static final int END = 0x06054b50;
  static final int ZIP64_END = 0x06064b50;
  static final int ZIP64_LOCATOR = 0x07064b50;
  static final int LOCAL_SIZE = 30;
  static final int CENTRAL_SIZE = 46;
  static final int END_SIZE = 22;
  static final int ZIP64_END_SIZE = 56;
  static final int ZIP64_LOCATOR_SIZE = 20;
  static final int ZIP64_EXTRA = 1;

  /** What a 32-bit field holds when the number is in a zip64 field. */
  static final long ELSEWHERE = 0xFFFFFFFFL;

  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MemorySegment file;
  private final String source;

  private StoredZip(MemorySegment file, String source) {
    this.file = file;
    this.source = source;
  }

  /** Whether a file begins as a zip file does. */
  static boolean isZip(MemorySegment file) {
    return file.byteSize() >= END_SIZE && file.get(INT, 0) == LOCAL;
  }

  /**
   * All entries by name, in the order of the directory.
   *
   * @throws FileFormatException if the file is malformed or an entry is compressed
   */
  static Map<String, MemorySegment> entries(MemorySegment file, String source) {
    return new StoredZip(file, source).entries();
  }

  private Map<String, MemorySegment> entries() {
    long end = findEnd();
    long count = u16(end + 10);
    long size = u32(end + 12);
    long at = u32(end + 16);
    long limit = end;
    if (end >= ZIP64_LOCATOR_SIZE && i32(end - ZIP64_LOCATOR_SIZE) == ZIP64_LOCATOR) {
      limit = i64(end - ZIP64_LOCATOR_SIZE + 8);
      require(limit >= 0 && limit <= end - ZIP64_LOCATOR_SIZE - ZIP64_END_SIZE);
      require(i32(limit) == ZIP64_END);
      count = i64(limit + 32);
      size = i64(limit + 40);
      at = i64(limit + 48);
    }
    require(at >= 0 && size >= 0 && at <= limit && size == limit - at);
    require(count >= 0 && count <= size / CENTRAL_SIZE);
    Map<String, MemorySegment> entries = new LinkedHashMap<>();
    long directory = at;
    for (long i = 0; i < count; i++) {
      require(at <= limit - CENTRAL_SIZE && i32(at) == CENTRAL);
      long next = at + CENTRAL_SIZE + u16(at + 28) + u16(at + 30) + u16(at + 32);
      require(next <= limit);
      String name = text(at + CENTRAL_SIZE, u16(at + 28));
      if (entries.put(name, data(name, at, directory)) != null) {
        throw new FileFormatException("%s has two entries called %s".formatted(source, name));
      }
      at = next;
    }
    require(at == limit);
    return entries;
  }

  /** The end record is last, but for a comment of which it tells the length. */
  private long findEnd() {
    long first = Math.max(0, file.byteSize() - END_SIZE - 0xFFFF);
    for (long at = file.byteSize() - END_SIZE; at >= first; at--) {
      if (i32(at) == END && u16(at + 20) == file.byteSize() - at - END_SIZE) {
        return at;
      }
    }
    throw new FileFormatException(source + " is a truncated zip file: it has no end record");
  }

  /** The bytes of an entry, by its record in the directory. */
  private MemorySegment data(String name, long record, long directory) {
    if (u16(record + 10) != 0 || (u16(record + 8) & 1) != 0) {
      throw new FileFormatException(
          "%s: entry %s is compressed or encrypted, expected a stored one".formatted(source, name));
    }
    long packed = u32(record + 20);
    long size = u32(record + 24);
    long header = u32(record + 42);
    long extra = record + CENTRAL_SIZE + u16(record + 28);
    long wide = zip64(extra, extra + u16(record + 30));
    if (wide >= 0) {
      long fieldEnd = wide + u16(wide - 2);
      long[] numbers = {size, packed, header};
      for (int i = 0; i < numbers.length; i++) {
        if (numbers[i] == ELSEWHERE) {
          require(wide + Long.BYTES <= fieldEnd);
          numbers[i] = i64(wide);
          wide += Long.BYTES;
        }
      }
      size = numbers[0];
      packed = numbers[1];
      header = numbers[2];
    }
    require(size == packed && size >= 0 && header >= 0 && header <= directory - LOCAL_SIZE);
    require(i32(header) == LOCAL);
    long begin = header + LOCAL_SIZE + u16(header + 26) + u16(header + 28);
    if (begin > directory || size > directory - begin) {
      throw new FileFormatException(
          "%s: entry %s of %d bytes at byte %d runs into the directory at byte %d"
              .formatted(source, name, size, begin, directory));
    }
    return file.asSlice(begin, size);
  }

  /** Where the zip64 field's data begins in a run of extra fields, or −1. */
  private long zip64(long from, long end) {
    long at = from;
    while (at + 4 <= end) {
      long next = at + 4 + u16(at + 2);
      require(next <= end);
      if (u16(at) == ZIP64_EXTRA) {
        return at + 4;
      }
      at = next;
    }
    return -1;
  }

  private void require(boolean condition) {
    if (!condition) {
      throw new FileFormatException(source + " is a malformed zip file");
    }
  }

  private int u16(long at) {
    return Short.toUnsignedInt(file.get(SHORT, at));
  }

  private int i32(long at) {
    return file.get(INT, at);
  }

  private long u32(long at) {
    return Integer.toUnsignedLong(file.get(INT, at));
  }

  private long i64(long at) {
    return file.get(LONG, at);
  }

  private String text(long at, int length) {
    byte[] bytes = file.asSlice(at, length).toArray(ValueLayout.JAVA_BYTE);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
