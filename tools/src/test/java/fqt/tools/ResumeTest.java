package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Safetensors;
import fqt.io.SafetensorsWriter;
import fqt.tensor.Ops;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Jobs that fail in the middle of their work, and are started again, in this process. */
class ResumeTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  @TempDir Path folder;
  private Path out;
  private Path work;

  @BeforeEach
  void names() {
    out = folder.resolve("out");
    work = folder.resolve(".out.partial");
  }

  /** Does something when a line of progress is printed; what it throws, the job throws. */
  private static final class Trap extends StringWriter {
    private final String line;
    private final Runnable action;
    private boolean sprung;

    Trap(String line, Runnable action) {
      this.line = line;
      this.action = action;
    }

    @Override
    public void flush() {
      if (!sprung && toString().contains(line)) {
        sprung = true;
        action.run();
      }
    }
  }

  private CommandRun trapped(String line, Runnable action, List<String> arguments) {
    Trap err = new Trap(line, action);
    StringWriter stdout = new StringWriter();
    int code =
        Main.run(new PrintWriter(stdout), new PrintWriter(err), arguments.toArray(String[]::new));
    assertTrue(err.sprung, err.toString());
    return new CommandRun(code, stdout.toString(), err.toString());
  }

  private static void fail() {
    throw new IllegalStateException("the terminal is gone");
  }

  private List<String> quantize(Path model, Path destination, String... more) {
    List<String> line =
        new ArrayList<>(List.of("quantize", model.toString(), "--out", destination.toString()));
    line.addAll(List.of("--calib", ids().toString(), "--seq-len", "64"));
    line.addAll(List.of(more));
    if (!line.contains("--samples")) {
      line.addAll(List.of("--samples", "4"));
    }
    return line;
  }

  /** Ids that every fixture knows. */
  private Path ids() {
    Path file = folder.resolve("ids.safetensors");
    if (!Files.exists(file)) {
      int[] ids = new Random(3).ints(400, 0, 256).toArray();
      SafetensorsWriter.writeFile(file, Map.of("ids", Ops.of(ids, ids.length)), Map.of());
    }
    return file;
  }

  private static CommandRun run(List<String> line) {
    return CommandRun.of(line.toArray(String[]::new));
  }

  private static CommandRun succeed(List<String> line) {
    CommandRun run = run(line);
    assertEquals(0, run.code(), run.err());
    return run;
  }

  private static void assertOneSentence(CommandRun run, int code, String part) {
    assertEquals(code, run.code(), run.err());
    List<String> errors = run.err().lines().filter(l -> l.startsWith("fqt quantize: ")).toList();
    assertEquals(1, errors.size(), run.err());
    assertTrue(errors.getFirst().contains(part), errors.getFirst());
  }

  private void assertSameAs(Path expected) throws IOException {
    OutputFiles.assertSame(expected, out);
    assertFalse(Files.exists(work), "the work folder is still there");
  }

  @ParameterizedTest
  @CsvSource({
    "tiny-qwen2, gptq, w4a16, gptq, --activations=bf16",
    "tiny-qwen2moe, gptq, w4a16, gptq, --activations=disk",
    "tiny-qwen3, awq+gptq, w4a16, awq, --asymmetric",
    "tiny-qwen3moe, smoothquant, w4a4, simulated, --ignore=v_proj",
    "tiny-llama, rtn, w3a16, simulated, --max-shard-size=500KB",
    "tiny-qwen25vl, smoothquant, w8a8-int8, compressed-tensors, --seed=2",
  })
  void aJobContinuesWhereItFailed(
      String model, String method, String scheme, String format, String more) throws IOException {
    Path source = FIXTURES.resolve(model);
    String[] options = {
      "--method", method, "--scheme", scheme, "--format", format, "--group-size", "64", more
    };
    Path whole = folder.resolve("whole");
    succeed(quantize(source, whole, options));
    List<String> line = quantize(source, out, options);
    assertOneSentence(
        trapped("layer 1/", ResumeTest::fail, line),
        1,
        "the terminal is gone; the same command continues after 1 of ");
    assertFalse(Files.exists(out));
    CommandRun again = succeed(line);
    assertTrue(again.err().contains("continuing after 1 of "), again.err());
    assertTrue(again.err().contains("were there already"), again.err());
    assertSameAs(whole);
  }

  @Test
  void otherArgumentsAreRefusedUntilTheJobIsRestarted() throws IOException {
    Path source = FIXTURES.resolve("tiny-llama");
    List<String> line = quantize(source, out);
    trapped("layer 1/", ResumeTest::fail, line);
    byte[] journal = Files.readAllBytes(work.resolve("journal.jsonl"));
    assertOneSentence(
        run(quantize(source, out, "--samples", "3")), 2, "calibration was 4 samples of 64");
    assertOneSentence(run(quantize(source, out, "--seed", "1")), 2, "calibration was");
    assertOneSentence(run(quantize(source, out, "--scheme", "w8a16")), 2, "int8");
    assertOneSentence(run(quantize(source, out, "--method", "awq")), 2, "--method was gptq");
    assertOneSentence(run(quantize(source, out, "--format", "awq")), 2, "--format was gptq and");
    assertOneSentence(run(quantize(source, out, "--ignore", "x")), 2, "--ignore was");
    assertOneSentence(run(quantize(source, out, "--rule", "x=w8a16")), 2, "--rule was");
    assertOneSentence(
        run(quantize(source, out, "--max-shard-size", "1GB")), 2, "--max-shard-size was");
    assertOneSentence(
        run(quantize(source, out, "--activations", "bf16")), 2, "--activations was exact");
    assertOneSentence(run(quantize(copyOf(source, 0x40), out)), 2, "model.safetensors was");
    assertArrayEquals(journal, Files.readAllBytes(work.resolve("journal.jsonl")));
    assertFalse(Files.exists(out));

    Path whole = folder.resolve("whole");
    succeed(quantize(source, whole, "--samples", "3"));
    CommandRun anew = succeed(quantize(source, out, "--samples", "3", "--restart"));
    assertFalse(anew.err().contains("continuing"), anew.err());
    assertSameAs(whole);
  }

  /** A copy of a checkpoint with a bit of its last weight changed. */
  private Path copyOf(Path source, int change) throws IOException {
    Path copy = Files.createDirectory(folder.resolve("copy"));
    try (Stream<Path> files = Files.list(source)) {
      for (Path file : (Iterable<Path>) files::iterator) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    byte[] bytes = Files.readAllBytes(copy.resolve("model.safetensors"));
    bytes[bytes.length - 2] ^= (byte) change;
    Files.write(copy.resolve("model.safetensors"), bytes);
    return copy;
  }

  @Test
  void aJobThatFinishedNothingMayBeFollowedByAnyOther() throws IOException {
    Path source = FIXTURES.resolve("tiny-llama");
    Files.createDirectories(work.resolve("blocks/.model.layers.0.1.partial"));
    Files.writeString(work.resolve("journal.jsonl"), "{\"job\":{\"--method\":\"magic\"}}\n");
    succeed(quantize(source, out));
    assertFalse(Files.exists(work));
    assertOneSentence(run(quantize(source, out)), 1, "already holds files");
    assertFalse(Files.exists(work));
  }

  @Test
  void aTornLineOfTheJournalDoesNotCountAndDamageIsTold() throws IOException {
    Path source = FIXTURES.resolve("tiny-llama");
    Path whole = folder.resolve("whole");
    succeed(quantize(source, whole));
    List<String> line = quantize(source, out);
    trapped("layer 1/", ResumeTest::fail, line);
    Path journal = work.resolve("journal.jsonl");
    String intact = Files.readString(journal);
    Files.writeString(journal, intact.replaceFirst("\"block\"", "\"b"));
    assertOneSentence(run(line), 1, "--restart begins anew");
    String torn = "{\"block\":\"model.layers.1\",\"linears\":[{\"linear\":\"\u00fc";
    byte[] bytes = (intact + torn).getBytes(StandardCharsets.UTF_8);
    Files.write(journal, Arrays.copyOf(bytes, bytes.length - 1));
    succeed(line);
    assertSameAs(whole);
  }

  @Test
  void twoJobsDoNotWorkOnTheSameDestination() throws IOException {
    Path source = FIXTURES.resolve("tiny-llama");
    List<String> line = quantize(source, out);
    trapped("layer 1/", ResumeTest::fail, line);
    try (FileChannel channel = FileChannel.open(work.resolve("lock"), StandardOpenOption.WRITE)) {
      assertTrue(channel.lock().isValid());
      assertOneSentence(run(line), 1, "another process is working in");
    }
    succeed(line);
  }

  @ParameterizedTest
  @ValueSource(strings = {"shorter", "gone", "written to"})
  void aShardThatChangesMeanwhileEndsTheJob(String change) throws IOException {
    Path source = sharded();
    Path whole = folder.resolve("whole");
    succeed(quantize(source, whole));
    Path shard = shardOf(source, "model.layers.2.mlp.down_proj.weight");
    byte[] bytes = Files.readAllBytes(shard);
    List<String> line = quantize(source, out);
    CommandRun failed = trapped("layer 2/", () -> change(shard, change, bytes.length), line);
    assertOneSentence(
        failed, 1, "while the job was reading it; the same command continues after 2");
    assertTrue(failed.err().contains(shard.getFileName().toString()), failed.err());
    assertFalse(Files.exists(out));
    CommandRun early = run(line);
    assertTrue(early.code() != 0 && early.err().lines().count() <= 3, early.err());

    Files.write(shard, bytes);
    succeed(line);
    assertSameAs(whole);
  }

  private static void change(Path shard, String change, int size) {
    try {
      switch (change) {
        case "shorter" -> {
          try (FileChannel channel = FileChannel.open(shard, StandardOpenOption.WRITE)) {
            channel.truncate(size / 2);
          }
        }
        case "gone" -> Files.delete(shard);
        default -> {
          Files.setLastModifiedTime(shard, FileTime.fromMillis(0));
          byte[] garbage = new byte[size];
          Arrays.fill(garbage, (byte) 0x7f);
          Files.write(shard, garbage, StandardOpenOption.WRITE);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** tiny-qwen2 in several files. */
  private Path sharded() throws IOException {
    Path source = FIXTURES.resolve("tiny-qwen2");
    Path copy = Files.createDirectory(folder.resolve("sharded"));
    CheckpointFiles.carryOver(source, copy);
    Files.copy(source.resolve("config.json"), copy.resolve("config.json"));
    try (Safetensors tensors = Safetensors.open(source);
        SafetensorsWriter writer = SafetensorsWriter.create(copy, 300_000)) {
      for (String name : tensors.names()) {
        writer.write(name, tensors.get(name));
      }
      writer.finish();
    }
    return copy;
  }

  private static Path shardOf(Path model, String tensor) {
    try (Safetensors tensors = Safetensors.open(model)) {
      return tensors.entry(tensor).file();
    }
  }
}
