package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.quant.CalibrationInputs;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Conventions of the command line: help, exit codes, errors of one sentence. */
class MainTest {
  @Test
  void helpListsTheCommands() {
    CommandRun run = CommandRun.of("--help");
    assertEquals(0, run.code());
    assertTrue(run.out().contains("Usage: fqt"), run.out());
    assertTrue(run.out().contains("doctor"), run.out());
    assertEquals("", run.err());
  }

  /** What the launcher shows is what the program prints. */
  @Test
  void helpPagesAreWhatIsPrinted(@TempDir Path folder) throws IOException {
    HelpPages.main(folder.toString());
    assertEquals(CommandRun.of("--help").out(), Files.readString(folder.resolve("fqt")));
    for (String name : Main.commandLine().getSubcommands().keySet()) {
      String page = Files.readString(folder.resolve(name));
      assertEquals(CommandRun.of(name, "--help").out(), page);
      String color = Files.readString(folder.resolve(name + ".color"));
      assertNotEquals(page, color);
      assertEquals(page, color.replaceAll("\u001b\\[[0-9;]*m", ""));
    }
  }

  @Test
  void versionIsOneLine() {
    CommandRun run = CommandRun.of("--version");
    assertEquals(0, run.code());
    assertTrue(run.out().matches("fqt \\d+\\.\\d+\\.\\S+\\R"), run.out());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "nonsense", "doctor --nonsense", "inspect", "inspect a b"})
  void wrongUsageIsOneSentenceAndCode2(String line) {
    CommandRun run = CommandRun.of(line.isEmpty() ? new String[0] : line.split(" "));
    assertEquals(2, run.code());
    assertEquals("", run.out());
    assertEquals(1, run.err().lines().count(), run.err());
    assertTrue(run.err().contains("--help"), run.err());
  }

  @Test
  void failureIsOneSentenceAndCode1() {
    CommandRun run = CommandRun.of("inspect", "/nowhere/at/all");
    assertEquals(1, run.code());
    assertEquals("fqt inspect: cannot read /nowhere/at/all: no such file", run.err().strip());
  }

  @Test
  void verboseShowsTheTrace() {
    CommandRun run = CommandRun.of("inspect", "--verbose", "/nowhere/at/all");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("\tat ") && run.err().contains("InspectCommand.call"), run.err());
  }

  @Test
  void doctorNamesTheEssentials() {
    CommandRun run = CommandRun.of("doctor");
    assertEquals(0, run.code());
    for (String title : List.of("fqt", "jdk", "machine", "memory", "cpu", "gpu")) {
      assertTrue(run.out().lines().anyMatch(line -> line.startsWith(title + " ")), run.out());
    }
    assertTrue(run.out().contains("threads"), run.out());
  }

  /** The class path, other than the module path, does not bring the Vector API along. */
  @Test
  void classPathWithoutTheVectorApiIsExplained() throws IOException, InterruptedException {
    String plain = onClassPath(List.of(), "doctor");
    assertTrue(plain.contains("add --add-modules jdk.incubator.vector"), plain);
    String withModule = onClassPath(List.of("--add-modules", "jdk.incubator.vector"), "doctor");
    assertTrue(withModule.contains("threads"), withModule);
  }

  private static String onClassPath(List<String> options, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(options);
    command.add("-cp");
    command.add(
        System.getProperty("jdk.module.path", "")
            + File.pathSeparator
            + System.getProperty("java.class.path"));
    command.add("fqt.tools.Main");
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    return output;
  }

  /** Vectors of 128 bits have no machine code, so that the slower kernels serve. */
  @Test
  void slowerKernelsAreAnnouncedOnce() throws IOException, InterruptedException {
    String output =
        onClassPath(
            List.of(
                "--add-modules",
                "jdk.incubator.vector",
                "-XX:+IgnoreUnrecognizedVMOptions",
                "-XX:UseAVX=1",
                "-XX:MaxVectorSize=16"),
            "doctor");
    assertEquals(
        1,
        output.lines().filter(line -> line.startsWith("warning: matrix products run on")).count(),
        output);
  }

  /** What a job does already is no advice for it. */
  @Test
  void aGpuWithTooLittleMemoryIsToldWhatNeedsLess() {
    assertEquals(
        "--activations disk, or --method awq, which keeps no Hessians, or --device cpu",
        QuantizeJob.needLess(Method.GPTQ, CalibrationInputs.Keeping.BF16));
    assertEquals(
        "shorter samples (--seq-len), or --method rtn, or --device cpu",
        QuantizeJob.needLess(Method.AWQ, CalibrationInputs.Keeping.DISK));
    assertEquals("--device cpu", QuantizeJob.needLess(Method.RTN, CalibrationInputs.Keeping.BF16));
  }

  /** What the Java VM throws when a page of a mapped file is not there any more. */
  @Test
  void aFileThatIsCutOffWhileItIsMappedIsOneSentence(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("mapped");
    Files.write(file, new byte[1 << 16]);
    try (FileChannel channel =
            FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        Arena arena = Arena.ofConfined()) {
      MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, 1 << 16, arena);
      channel.truncate(0);
      InternalError fault =
          assertThrows(InternalError.class, () -> mapped.get(ValueLayout.JAVA_BYTE, 1 << 15));
      assertEquals(
          "a file that was being read was cut off, or its disk failed", Failures.sentence(fault));
    }
  }
}
