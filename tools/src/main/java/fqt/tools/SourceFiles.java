package fqt.tools;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The files of a checkpoint as they were when a job began. A job maps them and reads them for
 * hours; one that is replaced or cut off meanwhile would give garbage or end the process.
 */
final class SourceFiles {
  private static final int CHUNK = 1 << 16;
  private static final int CHUNKS = 64;

  private record State(Path file, long size, FileTime modified) {}

  private final List<State> states;

  private SourceFiles(List<State> states) {
    this.states = states;
  }

  /** The files of a folder now. */
  static SourceFiles of(Path folder) {
    List<State> states = new ArrayList<>();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : (Iterable<Path>) files.sorted()::iterator) {
        if (Files.isRegularFile(file)) {
          states.add(new State(file, Files.size(file), Files.getLastModifiedTime(file)));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new SourceFiles(List.copyOf(states));
  }

  /**
   * Checks that no file is another than it was.
   *
   * @throws IllegalStateException if one is, naming it
   */
  void requireUnchanged() {
    for (State state : states) {
      String now;
      try {
        long size = Files.size(state.file());
        if (size == state.size()
            && Files.getLastModifiedTime(state.file()).equals(state.modified())) {
          continue;
        }
        now = "now has %d bytes where it had %d".formatted(size, state.size());
        now = size == state.size() ? "was written to" : now;
      } catch (IOException e) {
        now = "can no longer be read (" + Failures.sentence(e) + ")";
      }
      throw new IllegalStateException(
          "%s %s while the job was reading it".formatted(state.file(), now));
    }
  }

  /** Size and hash of each file by name; large files are hashed at places spread over them. */
  SequencedMap<String, String> digests() {
    SequencedMap<String, String> digests = new TreeMap<>();
    for (State state : states) {
      digests.put(
          state.file().getFileName().toString(),
          "%d bytes, sha256 %s".formatted(state.size(), digest(state)));
    }
    return digests;
  }

  private static String digest(State state) {
    MessageDigest sha = sha256();
    try (FileChannel channel = FileChannel.open(state.file(), StandardOpenOption.READ)) {
      ByteBuffer buffer = ByteBuffer.allocate(CHUNK);
      long chunks = Math.ceilDiv(state.size(), (long) CHUNK);
      long taken = Math.min(chunks, CHUNKS);
      for (long i = 0; i < taken; i++) {
        // The first and the last are always among them.
        long chunk = taken == 1 ? 0 : i * (chunks - 1) / (taken - 1);
        buffer.clear();
        channel.read(buffer, chunk * CHUNK);
        sha.update(buffer.flip());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return shortHex(sha);
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java VM has SHA-256", e);
    }
  }

  /** The first half of a digest. */
  static String shortHex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest(), 0, 16);
  }
}
