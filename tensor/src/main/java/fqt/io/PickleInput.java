package fqt.io;

import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Objects;

/** A stream over mapped bytes that knows how many are left and can hand out views of them. */
final class PickleInput extends InputStream {
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MemorySegment bytes;
  private final String source;
  private long position;

  PickleInput(MemorySegment bytes, String source) {
    this.bytes = bytes;
    this.source = source;
  }

  String source() {
    return source;
  }

  long position() {
    return position;
  }

  long remaining() {
    return bytes.byteSize() - position;
  }

  @Override
  public int read() {
    return remaining() == 0 ? -1 : Byte.toUnsignedInt(bytes.get(ValueLayout.JAVA_BYTE, position++));
  }

  @Override
  public int read(byte[] target, int offset, int length) {
    Objects.checkFromIndexSize(offset, length, target.length);
    if (length == 0) {
      return 0;
    }
    int count = (int) Math.min(length, remaining());
    if (count == 0) {
      return -1;
    }
    MemorySegment.copy(bytes, ValueLayout.JAVA_BYTE, position, target, offset, count);
    position += count;
    return count;
  }

  /** The length that the next 1, 4 or 8 bytes tell, without reading them. */
  long peekLength(int width) {
    require(width);
    long length =
        switch (width) {
          case 1 -> Byte.toUnsignedLong(bytes.get(ValueLayout.JAVA_BYTE, position));
          case Integer.BYTES -> Integer.toUnsignedLong(bytes.get(INT, position));
          default -> bytes.get(LONG, position);
        };
    if (length < 0 || length > remaining() - width) {
      throw new FileFormatException(
          "%s is truncated: byte %d announces %s bytes, %d are left"
              .formatted(source, position, Long.toUnsignedString(length), remaining() - width));
    }
    return length;
  }

  /** A view of the bytes that follow a length of the given width, which are then skipped. */
  MemorySegment readCounted(int width) {
    long length = peekLength(width);
    position += width;
    return take(length);
  }

  long readLong() {
    require(Long.BYTES);
    long value = bytes.get(LONG, position);
    position += Long.BYTES;
    return value;
  }

  /** A view of the next bytes, which are then skipped. */
  MemorySegment take(long length) {
    require(length);
    MemorySegment view = bytes.asSlice(position, length);
    position += length;
    return view;
  }

  private void require(long length) {
    if (length < 0 || length > remaining()) {
      throw new FileFormatException(
          "%s is truncated: %d bytes are needed at byte %d, %d are left"
              .formatted(source, length, position, remaining()));
    }
  }
}
