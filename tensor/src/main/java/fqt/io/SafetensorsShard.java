package fqt.io;

import fqt.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * One file of a checkpoint that is being written. The header is known only at the end, so room is
 * left for it at the beginning and filled with spaces. Where the file is small, or the header
 * outgrew the room, the tensors are moved behind a header of the right size instead.
 *
 * <p>Readers want each tensor at a multiple of its element size, and the format allows no gaps.
 * Tensors whose size is not a multiple of eight bytes are therefore held back (they are scalars and
 * odd scales) and written last, the widest elements first.
 */
final class SafetensorsShard {
  private static final int ROOM = 1 << 18;
  private static final long SMALL = 64L * ROOM;
  private static final long MAX_HELD_BACK = 1L << 26;

  private record HeldBack(String name, Tensor tensor) {}

  private final Path path;
  private final Path exact;
  private final FileChannel channel;
  private final SafetensorsLayout layout = new SafetensorsLayout(SafetensorsWriter.METADATA);
  private final List<HeldBack> heldBack = new ArrayList<>();
  private long heldBackBytes;

  private SafetensorsShard(Path path, FileChannel channel) {
    this.path = path;
    this.exact = path.resolveSibling(path.getFileName() + ".exact");
    this.channel = channel;
  }

  static SafetensorsShard create(Path path) {
    try {
      FileChannel channel =
          FileChannel.open(
              path,
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
      channel.position(ROOM);
      return new SafetensorsShard(path, channel);
    } catch (IOException e) {
      throw IoErrors.writing(path, e);
    }
  }

  Path path() {
    return path;
  }

  long dataBytes() {
    return layout.dataBytes() + heldBackBytes;
  }

  /** Whether so much is held back in memory that the shard should end. */
  boolean isCrowded() {
    return heldBackBytes > MAX_HELD_BACK;
  }

  /** Writes a contiguous host tensor, or remembers a copy of it. */
  void append(String name, Tensor tensor) {
    if (tensor.byteSize() % Long.BYTES == 0) {
      place(name, tensor);
    } else {
      MemorySegment copy = Arena.ofAuto().allocate(tensor.byteSize()).copyFrom(tensor.segment());
      heldBack.add(new HeldBack(name, Tensor.of(copy, tensor.dtype(), tensor.shape())));
      heldBackBytes += tensor.byteSize();
    }
  }

  private void place(String name, Tensor tensor) {
    layout.add(name, tensor);
    try {
      Durable.write(channel, tensor.segment());
    } catch (IOException e) {
      throw IoErrors.writing(path, e);
    }
  }

  /** Writes what was held back, and the header. */
  void complete() {
    heldBack.sort(Comparator.comparingInt(held -> -held.tensor().dtype().byteSize()));
    heldBack.forEach(held -> place(held.name(), held.tensor()));
    heldBack.clear();
    heldBackBytes = 0;
    byte[] padded = layout.encode(ROOM);
    try (channel) {
      if (padded == null || layout.dataBytes() < SMALL) {
        moveBehind(layout.encode());
      } else {
        channel.position(0);
        Durable.write(channel, MemorySegment.ofArray(padded));
      }
    } catch (IOException e) {
      throw IoErrors.writing(path, e);
    }
  }

  private void moveBehind(byte[] header) throws IOException {
    try (FileChannel target =
        FileChannel.open(exact, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      Durable.write(target, MemorySegment.ofArray(header));
      long end = ROOM + layout.dataBytes();
      for (long at = ROOM; at < end; ) {
        at += channel.transferTo(at, end - at, target);
      }
    }
    Files.move(exact, path, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Gives the file up. */
  void delete() {
    try {
      channel.close();
      Files.deleteIfExists(path);
      Files.deleteIfExists(exact);
    } catch (IOException e) {
      throw IoErrors.writing(path, e);
    }
  }
}
