package fqt.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicTest {
  @TempDir private Path folder;
  private Path destination;

  @BeforeEach
  void choose() {
    destination = folder.resolve("out");
  }

  private static List<String> list(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  private void build(boolean replace, boolean commit, String text) throws IOException {
    try (AtomicFolder out = AtomicFolder.create(destination, replace)) {
      Files.writeString(Files.createDirectory(out.path().resolve("sub")).resolve("a"), text);
      if (commit) {
        out.commit();
      }
    }
  }

  @Test
  void folderAppearsOnCommitOnly() throws IOException {
    build(false, false, "x");
    assertEquals(List.of(), list(folder));
    build(false, true, "x");
    assertEquals(List.of("out"), list(folder));
    assertEquals("x", Files.readString(destination.resolve("sub/a")));
    assertTrue(Files.getPosixFilePermissions(destination).size() > 3, "folder is private");
  }

  @Test
  void emptyFolderIsFilled() throws IOException {
    Files.createDirectory(destination);
    build(false, true, "x");
    assertEquals(List.of("sub"), list(destination));
  }

  @Test
  void fullFolderIsReplacedOnlyWhenAsked() throws IOException {
    Files.createDirectory(destination);
    Files.writeString(destination.resolve("old"), "old");
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> build(false, true, "x"));
    assertEquals(destination + " already holds files and will not be overwritten", e.getMessage());
    build(true, false, "x");
    assertEquals(List.of("old"), list(destination));
    build(true, true, "y");
    assertEquals(List.of("sub"), list(destination));
    assertEquals(List.of("out"), list(folder));
  }

  @Test
  void whatAppearedMeanwhileIsKept() throws IOException {
    try (AtomicFolder out = AtomicFolder.create(destination, false)) {
      Files.createDirectory(destination);
      Files.writeString(destination.resolve("theirs"), "theirs");
      assertThrows(IllegalArgumentException.class, out::commit);
    }
    assertEquals(List.of("theirs"), list(destination));
    assertEquals(List.of("out"), list(folder));
  }

  @Test
  void fileInTheWayIsRefused() throws IOException {
    Files.writeString(destination, "x");
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> AtomicFolder.create(destination, true));
    assertEquals(destination + " is a file, expected a folder or nothing", e.getMessage());
  }

  @Test
  void parentsAreMadeAndUseAfterCommitIsRefused() throws IOException {
    destination = folder.resolve("a/b/out");
    try (AtomicFolder out = AtomicFolder.create(destination, false)) {
      out.commit();
      assertThrows(IllegalStateException.class, out::commit);
    }
    assertTrue(Files.isDirectory(destination));
  }

  /** Begins a folder and waits to be killed. */
  static final class Interrupted {
    public static void main(String[] args) throws Exception {
      AtomicFolder out = AtomicFolder.create(Path.of(args[0]), true);
      Files.writeString(out.path().resolve("a"), "new");
      System.out.println("ready");
      Thread.sleep(60_000);
    }
  }

  @Test
  void interruptedProcessLeavesTheDestinationAsItWas() throws Exception {
    Files.createDirectory(destination);
    Files.writeString(destination.resolve("old"), "old");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                codeOf(AtomicFolder.class) + java.io.File.pathSeparator + codeOf(AtomicTest.class),
                Interrupted.class.getName(),
                destination.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    assertEquals("ready", process.inputReader().readLine());
    assertEquals(2, list(folder).size());
    process.destroy();
    assertTrue(process.waitFor(30, TimeUnit.SECONDS));
    assertEquals(List.of("out"), list(folder));
    assertEquals(List.of("old"), list(destination));
  }

  private static String codeOf(Class<?> type) {
    String file = type.getName().replace('.', '/') + ".class";
    String path = type.getResource("/" + file).getPath();
    return path.substring(0, path.length() - file.length() - 1);
  }

  @Test
  void fileAppearsOnCommitOnly() throws IOException {
    Files.writeString(destination, "old");
    try (AtomicFile file = AtomicFile.create(destination)) {
      file.write(new byte[] {'n'});
    }
    assertEquals("old", Files.readString(destination));
    try (AtomicFile file = AtomicFile.create(destination)) {
      file.write(new byte[] {'n'});
      file.commit();
    }
    assertEquals("n", Files.readString(destination));
    assertEquals(List.of("out"), list(folder));
  }

  @Test
  void fileThatCannotBeWrittenIsNamed() {
    Path file = folder.resolve("absent/a");
    UncheckedIOException e =
        assertThrows(UncheckedIOException.class, () -> AtomicFile.create(file));
    assertEquals("cannot write " + file + ": no such file", e.getMessage());
    assertThrows(UncheckedIOException.class, () -> AtomicFile.create(folder));
    assertFalse(Files.exists(file));
  }
}
