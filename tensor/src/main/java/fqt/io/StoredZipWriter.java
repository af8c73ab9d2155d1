package fqt.io;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/**
 * Writes a zip file that compresses nothing, its entries aligned to 64 bytes as PyTorch aligns
 * them, so that they can be mapped. {@link StoredZip} has the layout.
 */
final class StoredZipWriter {
  private static final int ALIGNMENT = 64;
  private static final int CHUNK = 1 << 26;

  /** The extra field that PyTorch pads with. */
  private static final int PADDING_EXTRA = 0x4246;

  /** Version 4.5 of the format has zip64 fields. */
  private static final int VERSION = 45;

  /** File names are UTF-8. */
  private static final int FLAGS = 1 << 11;

  /** The first day that the format can express: 1 January 1980. */
  private static final int DATE = 1 << 5 | 1;

  private final AtomicFile file;
  private final ByteArrayOutputStream directory = new ByteArrayOutputStream();
  private long position;
  private long count;

  StoredZipWriter(AtomicFile file) {
    this.file = file;
  }

  /** Appends an entry. */
  void add(String name, MemorySegment bytes) {
    byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
    int crc = crc(bytes);
    long size = bytes.byteSize();
    boolean wide = size >= StoredZip.ELSEWHERE;
    int wideSize = wide ? 4 + 2 * Long.BYTES : 0;
    long dataAt = position + StoredZip.LOCAL_SIZE + utf8.length + wideSize + 4;
    int padding = (int) (-dataAt & ALIGNMENT - 1);
    int extra = wideSize + 4 + padding;
    ByteBuffer local = buffer(StoredZip.LOCAL_SIZE + utf8.length + extra);
    local.putInt(StoredZip.LOCAL);
    common(local, crc, wide ? StoredZip.ELSEWHERE : size, utf8.length, extra);
    local.put(utf8);
    if (wide) {
      local.putShort((short) StoredZip.ZIP64_EXTRA).putShort((short) (2 * Long.BYTES));
      local.putLong(size).putLong(size);
    }
    local.putShort((short) PADDING_EXTRA).putShort((short) padding);
    file.write(local.array());
    file.write(bytes);
    addToDirectory(utf8, crc, size, position);
    position += local.capacity() + size;
    count++;
  }

  private void addToDirectory(byte[] name, int crc, long size, long offset) {
    boolean wideSize = size >= StoredZip.ELSEWHERE;
    boolean wideOffset = offset >= StoredZip.ELSEWHERE;
    int numbers = (wideSize ? 2 : 0) + (wideOffset ? 1 : 0);
    int extra = numbers == 0 ? 0 : 4 + numbers * Long.BYTES;
    ByteBuffer record = buffer(StoredZip.CENTRAL_SIZE + name.length + extra);
    record.putInt(StoredZip.CENTRAL).putShort((short) VERSION);
    common(record, crc, wideSize ? StoredZip.ELSEWHERE : size, name.length, extra);
    record.putShort((short) 0).putShort((short) 0).putShort((short) 0).putInt(0);
    record.putInt((int) (wideOffset ? StoredZip.ELSEWHERE : offset)).put(name);
    if (extra > 0) {
      record.putShort((short) StoredZip.ZIP64_EXTRA).putShort((short) (extra - 4));
      if (wideSize) {
        record.putLong(size).putLong(size);
      }
      if (wideOffset) {
        record.putLong(offset);
      }
    }
    directory.writeBytes(record.array());
  }

  /** The fields that a local header and a directory record have in common. */
  private static void common(ByteBuffer out, int crc, long size, int name, int extra) {
    out.putShort((short) VERSION).putShort((short) FLAGS).putShort((short) 0);
    out.putShort((short) 0).putShort((short) DATE).putInt(crc);
    out.putInt((int) size).putInt((int) size).putShort((short) name).putShort((short) extra);
  }

  /** Writes the directory and the end of the file. */
  void finish() {
    byte[] records = directory.toByteArray();
    boolean wide = count >= 0xFFFF || position >= StoredZip.ELSEWHERE;
    file.write(records);
    if (wide) {
      ByteBuffer end = buffer(StoredZip.ZIP64_END_SIZE + StoredZip.ZIP64_LOCATOR_SIZE);
      end.putInt(StoredZip.ZIP64_END).putLong(StoredZip.ZIP64_END_SIZE - 12);
      end.putShort((short) VERSION).putShort((short) VERSION).putInt(0).putInt(0);
      end.putLong(count).putLong(count).putLong(records.length).putLong(position);
      end.putInt(StoredZip.ZIP64_LOCATOR).putInt(0).putLong(position + records.length).putInt(1);
      file.write(end.array());
    }
    ByteBuffer end = buffer(StoredZip.END_SIZE);
    short shownCount = (short) Math.min(count, 0xFFFF);
    end.putInt(StoredZip.END).putShort((short) 0).putShort((short) 0);
    end.putShort(shownCount).putShort(shownCount).putInt(records.length);
    end.putInt((int) Math.min(position, StoredZip.ELSEWHERE)).putShort((short) 0);
    file.write(end.array());
  }

  private static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static int crc(MemorySegment bytes) {
    CRC32 crc = new CRC32();
    for (long at = 0; at < bytes.byteSize(); at += CHUNK) {
      crc.update(bytes.asSlice(at, Math.min(CHUNK, bytes.byteSize() - at)).asByteBuffer());
    }
    return (int) crc.getValue();
  }
}
