package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.SafetensorsWriter;
import fqt.tensor.Ops;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Jobs in processes of their own that are killed, interrupted, or find the disk full. */
@EnabledOnOs(OS.LINUX)
class KilledTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  @TempDir Path folder;
  private Path out;
  private Path work;
  private Path whole;

  @BeforeEach
  void names() {
    out = folder.resolve("out");
    work = folder.resolve(".out.partial");
    whole = folder.resolve("whole");
  }

  private List<String> gptq(Path destination, String... more) {
    List<String> line = new ArrayList<>();
    line.addAll(List.of("quantize", FIXTURES.resolve("tiny-qwen2").toString(), "--out"));
    line.addAll(List.of(destination.toString(), "--calib"));
    line.add(FIXTURES.resolve("calib_ids.safetensors").toString());
    line.addAll(List.of(more));
    if (!line.contains("--samples")) {
      line.addAll(List.of("--samples", "8"));
    }
    return line;
  }

  private static CommandRun run(List<String> line) {
    return CommandRun.of(line.toArray(String[]::new));
  }

  private static void succeed(List<String> line) {
    CommandRun run = run(line);
    assertEquals(0, run.code(), run.err());
  }

  /** Starts a job in a process of its own, below a shell's preparation. */
  private static Process start(String preparation, List<String> line) throws IOException {
    List<String> command = new ArrayList<>(List.of("/bin/bash", "-c"));
    // A test runner in the background has its children ignore Ctrl-C.
    command.add(preparation + " exec env --default-signal=INT \"$@\"");
    command.add("fqt");
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "--enable-native-access=fqt.tensor"));
    command.addAll(List.of("-p", System.getProperty("jdk.module.path")));
    command.addAll(List.of("-m", "fqt.tools/fqt.tools.Main"));
    command.addAll(line);
    return new ProcessBuilder(command).redirectErrorStream(true).start();
  }

  private static void awaitLine(BufferedReader output, String prefix) throws IOException {
    String line = output.readLine();
    while (line != null && !line.startsWith(prefix)) {
      line = output.readLine();
    }
    assertNotNull(line, "the job ended before it said " + prefix);
  }

  private static void signal(String signal, Process process) throws Exception {
    String pid = String.valueOf(process.pid());
    assertEquals(0, new ProcessBuilder("kill", signal, pid).start().waitFor());
  }

  private static void kill(Process process) throws InterruptedException {
    process.destroyForcibly();
    assertTrue(process.waitFor(30, TimeUnit.SECONDS), "the job does not stop");
    assertEquals(128 + 9, process.exitValue(), "the job ended by itself");
  }

  private static String rest(BufferedReader output) {
    return output.lines().collect(Collectors.joining("\n"));
  }

  private long journalled() throws IOException {
    return Files.readAllLines(work.resolve("journal.jsonl")).size() - 1L;
  }

  /** A job over text and pictures, which calibrates the vision tower after the decoder layers. */
  private List<String> pictures(Path destination) {
    Path ids = folder.resolve("ids.safetensors");
    int[] text = new Random(3).ints(4 * 32, 3, 200).toArray();
    SafetensorsWriter.writeFile(ids, Map.of("ids", Ops.of(text, 4, 32)), Map.of());
    List<String> line = new ArrayList<>(List.of("quantize"));
    line.add(FIXTURES.resolve("tiny-qwen2vl").toString());
    line.addAll(List.of("--out", destination.toString(), "--calib", ids.toString()));
    line.addAll(List.of("--method", "gptq", "--scheme", "w8a8-int8"));
    String picture = FIXTURES.resolve("picture.png").toString();
    line.addAll(List.of("--image", picture, "--image", picture));
    return line;
  }

  @Test
  void killedInALayerAndAfterABlockOfPicturesItEndsInTheSameBytes() throws Exception {
    succeed(pictures(whole));
    Process amongText = start("", pictures(out));
    try (BufferedReader output = amongText.inputReader()) {
      awaitLine(output, "layer 1/");
      Thread.sleep(5);
      kill(amongText);
    }
    assertFalse(Files.exists(out));
    assertTrue(journalled() >= 1 && journalled() <= 2, "the text was not in hand any more");

    Process amongPictures = start("", pictures(out));
    try (BufferedReader output = amongPictures.inputReader()) {
      awaitLine(output, "continuing after ");
      awaitLine(output, "vision block 1/");
      kill(amongPictures);
    }
    assertFalse(Files.exists(out));
    assertTrue(journalled() >= 3 && journalled() < 5, "no picture's block was left to do");
    succeed(pictures(out));
    OutputFiles.assertSame(whole, out);
    assertFalse(Files.exists(work));
  }

  /** A model whose files take a while to write, and a job that does little else. */
  private List<String> bulky(Path destination) throws IOException {
    Path model = folder.resolve("model");
    if (!Files.exists(model)) {
      List<String> made = new ArrayList<>(List.of("random-model", model.toString()));
      made.addAll(List.of("--hidden", "384", "--intermediate", "1536", "--layers", "2"));
      succeed(made);
    }
    return List.of(
        "quantize",
        model.toString(),
        "--out",
        destination.toString(),
        "--method",
        "rtn",
        "--format",
        "simulated");
  }

  @Test
  void killedWhileWritingAShardItEndsInTheSameBytes() throws Exception {
    succeed(bulky(whole));
    Process inBlock = start("", bulky(out));
    awaitShard(inBlock, work.resolve("blocks"), ".model.layers.1.");
    kill(inBlock);
    assertFalse(Files.exists(out));
    assertEquals(1, journalled());

    Process inOutput = start("", bulky(out));
    awaitShard(inOutput, work, "out");
    kill(inOutput);
    assertFalse(Files.exists(out));
    assertEquals(2, journalled());
    assertTrue(Files.exists(work.resolve("out")), "the job was not putting its output together");
    succeed(bulky(out));
    OutputFiles.assertSame(whole, out);
    assertFalse(Files.exists(work));
  }

  /** Waits until a shard grows in a folder whose name begins so. */
  private static void awaitShard(Process process, Path parent, String prefix)
      throws IOException, InterruptedException {
    while (process.isAlive()) {
      if (Files.exists(parent)) {
        try (Stream<Path> folders = Files.list(parent)) {
          for (Path folder : (Iterable<Path>) folders::iterator) {
            Path shard = folder.resolve("model-00001.partial");
            if (folder.getFileName().toString().startsWith(prefix) && Files.exists(shard)) {
              return;
            }
          }
        }
      }
      Thread.sleep(1);
    }
    throw new AssertionError("the job ended by itself: " + rest(process.inputReader()));
  }

  @Test
  void interruptedItSaysHowToContinueAndDoes() throws Exception {
    // Enough for the signal to find it at work, whatever else the machine does.
    String[] longer = {"--samples", "48"};
    Process process = start("", gptq(out, longer));
    try (BufferedReader output = process.inputReader()) {
      awaitLine(output, "layer 1/");
      signal("-INT", process);
      List<String> said = output.lines().filter(line -> line.startsWith("fqt quantize: ")).toList();
      assertTrue(process.waitFor(30, TimeUnit.SECONDS), "the job does not stop");
      assertEquals(128 + 2, process.exitValue());
      assertEquals(1, said.size(), said.toString());
      assertTrue(
          said.getFirst().contains("interrupted; the same command continues after"),
          said.toString());
    }
    assertFalse(Files.exists(out));
    assertTrue(journalled() >= 1);
    CommandRun again = run(gptq(out, longer));
    assertEquals(0, again.code(), again.err());
    assertTrue(again.err().contains("continuing after "), again.err());
  }

  @Test
  void interruptedBeforeAnythingWasFinishedItLeavesNothing() throws Exception {
    Process process = start("", gptq(out));
    try (BufferedReader output = process.inputReader()) {
      awaitLine(output, "memory:");
      signal("-TERM", process);
      assertTrue(process.waitFor(30, TimeUnit.SECONDS), "the job does not stop");
      assertEquals(128 + 15, process.exitValue());
      assertFalse(rest(output).contains("continues after"));
    }
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(List.of(), left.toList());
    }
  }

  @Test
  void aFullDiskEndsTheJobAndSpaceLetsItContinue() throws Exception {
    // A limit on the size of files, which the third block exceeds, is what any user can set.
    String[] larger = {"--method", "rtn", "--rule", "layers[.]2[.]=w8a16"};
    succeed(gptq(whole, larger));
    Process process = start("ulimit -f 450;", gptq(out, larger));
    String said = rest(process.inputReader());
    assertEquals(1, process.waitFor(), said);
    List<String> errors = said.lines().filter(line -> line.startsWith("fqt quantize: ")).toList();
    assertEquals(1, errors.size(), said);
    assertTrue(errors.getFirst().contains("cannot write"), said);
    assertTrue(errors.getFirst().contains("the same command continues after 2 of 4"), said);
    assertFalse(said.contains("\tat "), said);
    assertFalse(Files.exists(out));
    assertEquals(2, journalled());
    succeed(gptq(out, larger));
    OutputFiles.assertSame(whole, out);
  }
}
