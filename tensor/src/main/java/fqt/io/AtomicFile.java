package fqt.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * A file that appears whole or not at all. Bytes go to a sibling with a temporary name; {@link
 * #commit} forces them to the device and renames the sibling. Closing without a commit deletes the
 * sibling and leaves the destination as it was. For one thread.
 *
 * {@snippet :
 * try (AtomicFile file = AtomicFile.create(path)) {
 *   file.write(bytes);
 *   file.commit();
 * }
 * }
 */
public final class AtomicFile implements AutoCloseable {
  private final Path destination;
  private final Path temporary;
  private final FileChannel channel;
  private boolean committed;

  private AtomicFile(Path destination, Path temporary, FileChannel channel) {
    this.destination = destination;
    this.temporary = temporary;
    this.channel = channel;
  }

  /**
   * Starts a file; an existing one is replaced at the commit.
   *
   * @param destination the file's path, in an existing folder
   * @return the open file, nothing of which shows at {@code destination} before the commit
   * @throws java.io.UncheckedIOException if the folder does not exist or cannot be written to
   */
  public static AtomicFile create(Path destination) {
    Path absolute = destination.toAbsolutePath();
    String name = "." + absolute.getFileName() + "." + ProcessHandle.current().pid();
    try {
      if (Files.isDirectory(absolute)) {
        throw new IOException("it is a folder");
      }
      for (int attempt = 0; ; attempt++) {
        Path temporary = absolute.resolveSibling(name + "-" + attempt + ".partial");
        if (!Files.exists(temporary)) {
          FileChannel channel =
              FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
          return new AtomicFile(destination, temporary, channel);
        }
      }
    } catch (IOException e) {
      throw IoErrors.writing(destination, e);
    }
  }

  /**
   * Appends bytes.
   *
   * @param bytes what is appended, from first to last
   */
  public void write(byte[] bytes) {
    write(MemorySegment.ofArray(bytes));
  }

  /**
   * Appends bytes of host memory, however many.
   *
   * @param bytes a segment of any length, also beyond 2 GiB; it may be freed afterwards
   */
  public void write(MemorySegment bytes) {
    try {
      Durable.write(channel, bytes);
    } catch (IOException e) {
      throw IoErrors.writing(destination, e);
    }
  }

  /** Forces the bytes to the device and gives the file its name. */
  public void commit() {
    try {
      channel.force(true);
      channel.close();
      Files.move(temporary, destination, StandardCopyOption.ATOMIC_MOVE);
      committed = true;
      Durable.sync(destination.toAbsolutePath().getParent());
    } catch (IOException e) {
      throw IoErrors.writing(destination, e);
    }
  }

  /** Deletes what was written, unless it was committed. */
  @Override
  public void close() {
    if (committed) {
      return;
    }
    try {
      channel.close();
      Files.deleteIfExists(temporary);
    } catch (IOException e) {
      throw IoErrors.writing(temporary, e);
    }
  }
}
