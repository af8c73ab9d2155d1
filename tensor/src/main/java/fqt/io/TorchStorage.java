package fqt.io;

import java.lang.foreign.MemorySegment;

/** A storage that a pickle refers to; its bytes may come later in the file. */
final class TorchStorage {
  private final String key;
  private final TorchFormat format;
  private final long byteSize;
  private MemorySegment bytes;

  TorchStorage(String key, TorchFormat format, long byteSize) {
    this.key = key;
    this.format = format;
    this.byteSize = byteSize;
  }

  TorchFormat format() {
    return format;
  }

  long byteSize() {
    return byteSize;
  }

  /** This storage, if the pickle describes it as it did before. */
  TorchStorage requireSame(TorchFormat otherFormat, long otherSize, String source) {
    if (format != otherFormat || byteSize != otherSize) {
      throw new FileFormatException(
          "%s: storage %s has %d bytes of %s here and %d of %s there"
              .formatted(source, key, byteSize, format.name(), otherSize, otherFormat.name()));
    }
    return this;
  }

  /** Tells where the bytes are. */
  void place(MemorySegment found, String source) {
    if (found.byteSize() != byteSize) {
      throw new FileFormatException(
          "%s: storage %s has %d bytes, expected %d"
              .formatted(source, key, found.byteSize(), byteSize));
    }
    bytes = found;
  }

  MemorySegment bytes(String source) {
    if (bytes == null) {
      throw new FileFormatException("%s: storage %s is missing".formatted(source, key));
    }
    return bytes;
  }
}
