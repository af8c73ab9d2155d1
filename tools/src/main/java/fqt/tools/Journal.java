package fqt.tools;

import fqt.io.AtomicFile;
import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.quant.report.FoldReport;
import fqt.quant.report.LinearReport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * What a job has finished, as lines of JSON: first its fingerprint, then a line for each finished
 * block, at last one that says that everything is there. A line is on the device before {@link
 * #add} returns; whoever adds one has seen to it that what it tells of is there too. A line that
 * was cut off by the end of a process does not count.
 */
final class Journal implements AutoCloseable {
  /** A finished block: its path, and what there was to report of it. */
  record Entry(String block, List<LinearReport> linears, List<FoldReport> folds) {}

  private final Path path;
  private final FileChannel channel;
  private final SequencedMap<String, String> fingerprint = new LinkedHashMap<>();
  private final SequencedMap<String, Entry> entries = new LinkedHashMap<>();
  private volatile int size;
  private String output;

  private Journal(Path path) {
    this.path = path;
    try {
      this.channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
      readLines();
    } catch (FileFormatException e) {
      throw new FileFormatException(e.getMessage() + " (--restart begins anew)", e);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + path + ": " + Failures.sentence(e), e);
    }
  }

  /**
   * Opens the journal of that name, or begins it with a fingerprint.
   *
   * @throws FileFormatException if it is damaged
   */
  static Journal open(Path path, Fingerprint fingerprint) {
    if (!Files.exists(path)) {
      try (AtomicFile file = AtomicFile.create(path)) {
        file.write(line(Map.of("job", fingerprint.parts())));
        file.commit();
      }
    }
    return new Journal(path);
  }

  private static byte[] line(Object value) {
    return (Json.write(value) + "\n").getBytes(StandardCharsets.UTF_8);
  }

  private void readLines() throws IOException {
    byte[] bytes = Files.readAllBytes(path);
    int end = bytes.length;
    while (end > 0 && bytes[end - 1] != '\n') {
      end--;
    }
    List<String> lines = new String(bytes, 0, end, StandardCharsets.UTF_8).lines().toList();
    for (int i = 0; i < lines.size(); i++) {
      String source = path + " line " + (i + 1);
      readLine(JsonObject.of(Json.parse(lines.get(i), source), source), i == 0);
    }
    if (lines.isEmpty()) {
      throw new FileFormatException(path + " does not say which job it is of");
    }
    channel.truncate(end);
    channel.position(end);
  }

  private void readLine(JsonObject line, boolean first) {
    if (first) {
      JsonObject job = line.getObject("job");
      job.names().forEach(name -> fingerprint.put(name, job.getString(name)));
    } else if (line.has("complete")) {
      output = line.getString("complete");
    } else {
      Entry entry =
          new Entry(
              line.getString("block"),
              line.getObjects("linears").stream().map(QuantizeReport::linear).toList(),
              line.getObjects("folds").stream().map(QuantizeReport::fold).toList());
      put(entry);
    }
  }

  private void put(Entry entry) {
    entries.put(entry.block(), entry);
    size = entries.size();
  }

  /** How many blocks are finished; any thread may ask. */
  int size() {
    return size;
  }

  /** The fingerprint that it began with. */
  Map<String, String> fingerprint() {
    return fingerprint;
  }

  /** Finished blocks by path, in the order in which they were finished. */
  SequencedMap<String, Entry> entries() {
    return Collections.unmodifiableSequencedMap(entries);
  }

  /** Notes a finished block. */
  void add(Entry entry) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("block", entry.block());
    line.put("linears", entry.linears().stream().map(QuantizeReport::map).toList());
    line.put("folds", entry.folds().stream().map(QuantizeReport::map).toList());
    append(line);
    put(entry);
  }

  /** By what the file system knows the complete output, or null if it is not complete. */
  String output() {
    return output;
  }

  /** Notes that the output is complete and only has to be renamed. */
  void complete(String key) {
    append(Map.of("complete", key));
    output = key;
  }

  private void append(Object value) {
    ByteBuffer bytes = ByteBuffer.wrap(line(value));
    try {
      long end = channel.position();
      try {
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      } catch (IOException e) {
        channel.truncate(end);
        throw e;
      }
      channel.force(true);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write " + path + ": " + Failures.sentence(e), e);
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot close " + path + ": " + Failures.sentence(e), e);
    }
  }
}
