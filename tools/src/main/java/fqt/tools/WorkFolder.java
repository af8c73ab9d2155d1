package fqt.tools;

import fqt.io.AtomicFolder;
import fqt.io.SafetensorsWriter;
import fqt.io.TensorSource;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Comparator;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * What a job has done so far, in a hidden folder beside its destination, so that it can go on after
 * it was stopped at any moment, even by a power cut:
 *
 * <pre>
 *   .NAME.partial/lock            held by the process that works here
 *   .NAME.partial/journal.jsonl   see {@link Journal}
 *   .NAME.partial/fqt.log         what the libraries log
 *   .NAME.partial/notes/          see {@link BlockNotes}
 *   .NAME.partial/blocks/PATH/    the tensors of a finished block, a small checkpoint
 *   .NAME.partial/out/            the output while it is put together, at last renamed to NAME
 * </pre>
 *
 * A block's folder is renamed into place when its files are on the device, and only then told to
 * the journal; whatever the journal does not tell of is written anew. The folder goes away when the
 * output is in its place, and when nothing had been finished in it.
 */
final class WorkFolder implements AutoCloseable {
  /** Name of the log, here and in the output folder. */
  static final String LOG = "fqt.log";

  private final Path destination;
  private final Path folder;
  private final FileChannel lock;
  private Journal journal;

  private WorkFolder(Path destination, Path folder, FileChannel lock) {
    this.destination = destination;
    this.folder = folder;
    this.lock = lock;
  }

  /**
   * Opens the work on a destination, or begins it.
   *
   * @param restart whether to forget what an earlier job finished
   * @throws DifferentJob if what is there is of another job
   * @throws IllegalArgumentException if the destination holds files that no such job wrote, or
   *     another process works on it
   */
  static WorkFolder open(Path destination, Fingerprint fingerprint, boolean restart) {
    Path absolute = destination.toAbsolutePath().normalize();
    if (absolute.getFileName() == null) {
      throw new IllegalArgumentException("cannot write a folder over " + absolute);
    }
    Path folder = absolute.resolveSibling("." + absolute.getFileName() + ".partial");
    if (!Files.exists(folder)) {
      AtomicFolder.requireFree(absolute, false);
    }
    WorkFolder work = new WorkFolder(absolute, folder, lock(folder));
    try {
      work.begin(fingerprint, restart);
      return work;
    } catch (IOException e) {
      work.close();
      throw new UncheckedIOException("cannot write " + folder + ": " + Failures.sentence(e), e);
    } catch (RuntimeException e) {
      work.close();
      throw e;
    }
  }

  private void begin(Fingerprint fingerprint, boolean restart) throws IOException {
    if (restart) {
      Files.deleteIfExists(journalFile());
    }
    journal = Journal.open(journalFile(), fingerprint);
    String difference = fingerprint.differenceFrom(journal.fingerprint());
    if (!difference.isEmpty()) {
      if (!journal.entries().isEmpty()) {
        throw new DifferentJob(
            "the interrupted job in %s is another: %s; repeat its arguments to continue it, or give"
                    .formatted(folder, difference)
                + " --restart to begin anew");
      }
      journal.close();
      Files.delete(journalFile());
      journal = Journal.open(journalFile(), fingerprint);
    }
    sync(folder.getParent());
    if (!isDone()) {
      AtomicFolder.requireFree(destination, false);
    }
    deleteUnfinished();
  }

  private Path journalFile() {
    return folder.resolve("journal.jsonl");
  }

  /** What is there is of a job with other arguments. */
  static final class DifferentJob extends IllegalArgumentException {
    private static final long serialVersionUID = 1;

    private DifferentJob(String message) {
      super(message);
    }
  }

  private static FileChannel lock(Path folder) {
    try {
      Files.createDirectories(folder.resolve("blocks"));
      FileChannel channel =
          FileChannel.open(
              folder.resolve("lock"), StandardOpenOption.WRITE, StandardOpenOption.CREATE);
      if (channel.tryLock() == null) {
        channel.close();
        throw new OverlappingFileLockException();
      }
      return channel;
    } catch (OverlappingFileLockException e) {
      throw new IllegalArgumentException("another process is working in " + folder, e);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write " + folder + ": " + Failures.sentence(e), e);
    }
  }

  /** Deletes what a stopped process was in the middle of. */
  private void deleteUnfinished() throws IOException {
    try (Stream<Path> blocks = Files.list(folder.resolve("blocks"))) {
      for (Path block : (Iterable<Path>) blocks::iterator) {
        if (!journal.entries().containsKey(block.getFileName().toString())) {
          deleteTree(block);
        }
      }
    }
  }

  /** The hidden folder. */
  Path path() {
    return folder;
  }

  /** What the libraries log, of all runs that the job took. */
  Path log() {
    return folder.resolve(LOG);
  }

  /** Copies the log so far into the output. */
  void copyLog(Path output) {
    try {
      Files.copy(log(), output.resolve(LOG));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What was finished. */
  Journal journal() {
    return journal;
  }

  /** Whether the output stands at the destination already. */
  boolean isDone() {
    return journal.output() != null
        && Files.isDirectory(destination)
        && key(destination).equals(journal.output());
  }

  /** What a folder keeps when it is renamed. */
  private static String key(Path folder) {
    try {
      return String.valueOf(Files.readAttributes(folder, BasicFileAttributes.class).fileKey());
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + folder + ": " + Failures.sentence(e), e);
    }
  }

  /** Writes the tensors of a block, which are on the device when this returns. */
  void writeBlock(String block, Consumer<SafetensorsWriter> tensors) {
    try (AtomicFolder place = AtomicFolder.create(folder.resolve("blocks").resolve(block), true);
        SafetensorsWriter writer = SafetensorsWriter.create(place.path(), Long.MAX_VALUE)) {
      tensors.accept(writer);
      writer.finish();
      place.commit();
    }
  }

  /** The tensors of a finished block. */
  TensorSource block(String block) {
    return TensorSource.open(folder.resolve("blocks").resolve(block));
  }

  /** Where the output is put together. */
  AtomicFolder output() {
    return AtomicFolder.create(destination, false, folder.resolve("out"));
  }

  /** Gives the complete output its name. */
  void commit(AtomicFolder output) {
    journal.complete(key(output.path()));
    output.commit();
  }

  /** Frees the lock; deletes the folder if the output is there, or nothing was finished. */
  @Override
  public void close() {
    boolean useless = false;
    if (journal != null) {
      useless = isDone() || journal.size() == 0;
      journal.close();
    }
    try {
      if (useless) {
        deleteTree(folder);
      }
      lock.close();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot delete " + folder + ": " + Failures.sentence(e), e);
    }
  }

  /** Deletes a file or folder with all that it holds, if it is there. */
  static void deleteTree(Path root) throws IOException {
    if (!Files.exists(root)) {
      return;
    }
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) {
        Files.deleteIfExists(file);
      }
    }
  }

  /** Forces a folder's entries to the device. */
  private static void sync(Path folder) throws IOException {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }
}
