package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Compares what two jobs wrote. */
final class OutputFiles {
  private OutputFiles() {}

  /** Checks that two folders hold the same files, byte for byte but for times and the log. */
  static void assertSame(Path expected, Path actual) throws IOException {
    assertEquals(names(expected), names(actual));
    for (String name : names(expected)) {
      if (name.equals(WorkFolder.LOG)) {
        continue;
      }
      byte[] theirs = Files.readAllBytes(expected.resolve(name));
      byte[] ours = Files.readAllBytes(actual.resolve(name));
      if (name.endsWith(".jsonl")) {
        theirs = withoutTimes(theirs);
        ours = withoutTimes(ours);
      }
      assertArrayEquals(theirs, ours, name);
    }
  }

  private static byte[] withoutTimes(byte[] lines) {
    String text = new String(lines, StandardCharsets.UTF_8);
    return text.replaceAll("\"seconds\":[-+.0-9Ee]+", "").getBytes(StandardCharsets.UTF_8);
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }
}
