package fqt.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.stream.Stream;

/**
 * A folder that appears whole or not at all. Files are written into a hidden sibling of the
 * destination; {@link #commit} forces them to the device and renames the sibling. Closing without a
 * commit, or ending the process by a signal, deletes the sibling and leaves the destination as it
 * was.
 *
 * {@snippet :
 * try (AtomicFolder out = AtomicFolder.create(destination, false)) {
 *   Json.write(out.path().resolve("config.json"), config);
 *   out.commit();
 * }
 * }
 */
public final class AtomicFolder implements AutoCloseable {
  private final Path destination;
  private final Path temporary;
  private final boolean replace;
  private final Thread cleaner = new Thread(this::abandon, "fqt-atomic-folder");
  private boolean finished;

  private AtomicFolder(Path destination, Path temporary, boolean replace) {
    this.destination = destination;
    this.temporary = temporary;
    this.replace = replace;
    Runtime.getRuntime().addShutdownHook(cleaner);
  }

  /**
   * Starts a folder; missing parents are made.
   *
   * @param destination the folder's path
   * @param replace whether a destination that already holds something may be replaced
   * @return the folder under its temporary name, beside the destination
   * @throws IllegalArgumentException if the destination is a file, or holds something and may not
   *     be replaced
   * @throws java.io.UncheckedIOException if nothing can be written beside the destination
   */
  public static AtomicFolder create(Path destination, boolean replace) {
    Path absolute = destination.toAbsolutePath().normalize();
    requireFree(absolute, replace);
    if (absolute.getFileName() == null) {
      throw new IllegalArgumentException("cannot write a folder over " + absolute);
    }
    try {
      Files.createDirectories(absolute.getParent());
      Path temporary =
          Files.createTempDirectory(absolute.getParent(), "." + absolute.getFileName() + ".");
      return new AtomicFolder(absolute, openToOthers(temporary), replace);
    } catch (IOException e) {
      throw IoErrors.writing(destination, e);
    }
  }

  /**
   * Starts a folder whose files are written into a given place.
   *
   * @param destination the folder's path
   * @param replace whether a destination that already holds something may be replaced
   * @param temporary a path on the same file system in an existing folder; what it holds is deleted
   * @return the folder at {@code temporary}
   * @throws IllegalArgumentException if the destination is a file, or holds something and may not
   *     be replaced
   * @throws java.io.UncheckedIOException if nothing can be written there
   */
  public static AtomicFolder create(Path destination, boolean replace, Path temporary) {
    Path absolute = destination.toAbsolutePath().normalize();
    requireFree(absolute, replace);
    Path place = temporary.toAbsolutePath().normalize();
    try {
      Durable.deleteTree(place);
      Files.createDirectory(place);
      return new AtomicFolder(absolute, place, replace);
    } catch (IOException e) {
      throw IoErrors.writing(place, e);
    }
  }

  /** A temporary folder is private by default; what becomes of it should be an ordinary folder. */
  private static Path openToOthers(Path temporary) throws IOException {
    Path ordinary = temporary.resolveSibling(temporary.getFileName() + ".partial");
    Files.createDirectory(ordinary);
    Files.delete(temporary);
    return ordinary;
  }

  /**
   * Checks that a folder may be written, before the work of filling it.
   *
   * @param destination the folder's path
   * @param replace whether it may already hold something
   * @throws IllegalArgumentException if the destination is a file, or holds something and may not
   *     be replaced
   */
  public static void requireFree(Path destination, boolean replace) {
    if (!Files.exists(destination, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    if (!Files.isDirectory(destination)) {
      throw new IllegalArgumentException(destination + " is a file, expected a folder or nothing");
    }
    if (!replace && !isEmpty(destination)) {
      throw new IllegalArgumentException(
          destination + " already holds files and will not be overwritten");
    }
  }

  private static boolean isEmpty(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files.findAny().isEmpty();
    } catch (IOException e) {
      throw IoErrors.reading(folder, e);
    }
  }

  /** {@return where to write until the commit} */
  public Path path() {
    return temporary;
  }

  /**
   * Gives the folder its name.
   *
   * @throws IllegalArgumentException if something was put at the destination meanwhile
   */
  public synchronized void commit() {
    if (finished) {
      throw new IllegalStateException("folder " + destination + " is already finished");
    }
    requireFree(destination, replace);
    try {
      Durable.syncTree(temporary);
      if (Files.exists(destination, LinkOption.NOFOLLOW_LINKS) && !isEmpty(destination)) {
        exchange();
      } else {
        Files.deleteIfExists(destination);
        Files.move(temporary, destination, StandardCopyOption.ATOMIC_MOVE);
      }
      finished = true;
      Durable.sync(destination.getParent());
    } catch (IOException e) {
      throw IoErrors.writing(destination, e);
    }
    dismissCleaner();
  }

  /** Moves the old folder aside, the new one in, and only then deletes the old one. */
  private void exchange() throws IOException {
    Path old = temporary.resolveSibling(temporary.getFileName() + ".old");
    Files.move(destination, old, StandardCopyOption.ATOMIC_MOVE);
    try {
      Files.move(temporary, destination, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      Files.move(old, destination, StandardCopyOption.ATOMIC_MOVE);
      throw e;
    }
    Durable.deleteTree(old);
  }

  /** Deletes what was written, unless it was committed. */
  @Override
  public void close() {
    if (abandon()) {
      dismissCleaner();
    }
  }

  private void dismissCleaner() {
    try {
      Runtime.getRuntime().removeShutdownHook(cleaner);
    } catch (IllegalStateException shuttingDown) {
      // The cleaner is running or has run; it finds that there is nothing left to do.
    }
  }

  private synchronized boolean abandon() {
    if (finished) {
      return false;
    }
    finished = true;
    try {
      Durable.deleteTree(temporary);
    } catch (IOException e) {
      throw IoErrors.writing(temporary, e);
    }
    return true;
  }
}
