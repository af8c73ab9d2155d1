package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import fqt.models.tokenizer.Tokenizer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The commands on the tiny Qwen2 model, against what the reference computed. */
class CommandsTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final String MODEL = FIXTURES.resolve("tiny-qwen2").toString();
  private static final String EVAL = FIXTURES.resolve("eval_ids.safetensors").toString();
  private static final String CALIB = FIXTURES.resolve("calib_ids.safetensors").toString();

  @TempDir Path folder;

  @Test
  void evalGivesTheReferencePerplexity() {
    CommandRun run = CommandRun.of("eval", MODEL, "--data", EVAL, "--seq-len", "256", "--json");
    assertEquals(0, run.code(), run.err());
    JsonObject json = JsonObject.of(Json.parse(run.out(), "output"), "output");
    assertEquals(1.783029343117852, json.getDouble("perplexity"), 1e-4);
    assertEquals(62, json.getInt("windows"));
    assertEquals(62 * 255, json.getInt("predictions"));
  }

  @Test
  void forwardGivesTheReferenceStates() {
    String reference = MODEL + "/reference.safetensors";
    Path out = folder.resolve("states.safetensors");
    CommandRun run =
        CommandRun.of("forward", MODEL, "--inputs", reference, "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    try (Safetensors ours = Safetensors.open(out);
        Safetensors theirs = Safetensors.open(Path.of(reference))) {
      for (String name :
          List.of("logits", "hidden_states.0", "hidden_states.3", "hidden_states.4")) {
        assertEquals(theirs.get(name).shape(), ours.get(name).shape());
        assertClose(theirs.get(name).toFloats(), ours.get(name).toFloats(), name);
      }
      assertFalse(ours.has("hidden_states.5"));
    }
  }

  private static void assertClose(float[] expected, float[] actual, String what) {
    float largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    assertArrayEquals(expected, actual, 1e-3f * largest, what);
  }

  @Test
  void generatePrintsTheReferenceContinuation() {
    Tokenizer tokenizer = Tokenizer.load(Path.of(MODEL));
    String prompt;
    String all;
    int count;
    try (Safetensors file = Safetensors.open(Path.of(MODEL, "reference.safetensors"))) {
      int[] promptIds = ints(file.get("generate.prompt").toLongs());
      int[] outputIds = ints(file.get("generate.output").toLongs());
      prompt = tokenizer.decode(promptIds);
      count = outputIds.length - promptIds.length;
      // The reference ran on after the end of the text; the command stops there.
      int end = tokenizer.id("<|endoftext|>").getAsInt();
      int[] shown = Arrays.stream(outputIds).takeWhile(id -> id != end).toArray();
      all = tokenizer.decode(shown);
      assertTrue(shown.length > promptIds.length + 10, "the reference is too short to compare");
      assertArrayEquals(promptIds, tokenizer.encode(prompt), "the prompt is not its own tokens");
    }
    CommandRun run =
        CommandRun.of(
            "generate", MODEL, "--prompt", prompt, "--max-new-tokens", String.valueOf(count));
    assertEquals(0, run.code(), run.err());
    assertEquals(all.substring(prompt.length()).strip(), run.out().strip());
  }

  private static int[] ints(long[] values) {
    int[] narrow = new int[values.length];
    for (int i = 0; i < narrow.length; i++) {
      narrow[i] = Math.toIntExact(values[i]);
    }
    return narrow;
  }

  @Test
  void tokenizeKeepsTheOrderOfLines() {
    List<String> texts = List.of("The rain had stopped.", "a\nb", "naïve 雨", "");
    StringBuilder lines = new StringBuilder();
    for (String text : texts) {
      lines.append(Json.write(Map.of("text", text))).append('\n');
    }
    InputStream before = System.in;
    CommandRun run;
    try {
      System.setIn(new ByteArrayInputStream(lines.toString().getBytes(StandardCharsets.UTF_8)));
      run = CommandRun.of("tokenize", MODEL);
    } finally {
      System.setIn(before);
    }
    assertEquals(0, run.code(), run.err());
    Tokenizer tokenizer = Tokenizer.load(Path.of(MODEL));
    List<String> answers = run.out().lines().toList();
    assertEquals(texts.size(), answers.size());
    for (int i = 0; i < texts.size(); i++) {
      long[] ids = JsonObject.of(Json.parse(answers.get(i), "line"), "line").getLongs("ids");
      assertArrayEquals(tokenizer.encode(texts.get(i)), ints(ids), texts.get(i));
    }
  }

  @Test
  void quantizeWritesWhatEvalReads() throws IOException {
    Path out = folder.resolve("quantized");
    CommandRun run = quantize(out, "--samples", "16");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("memory: at most"), run.err());
    assertEquals(4, run.err().lines().filter(line -> line.startsWith("layer ")).count(), run.err());
    assertTrue(run.out().contains("model.layers.3.mlp.down_proj"), run.out());
    assertEquals(28, Files.readAllLines(out.resolve("fqt_linears.jsonl")).size());
    for (String name : List.of("tokenizer.json", "generation_config.json", "chat_template.jinja")) {
      assertEquals(-1, Files.mismatch(Path.of(MODEL, name), out.resolve(name)), name);
    }
    JsonObject config = Json.readObject(out.resolve("config.json"));
    assertEquals("gptq", config.getObject("quantization_config").getString("quant_method"));
    assertEquals(List.of("quantized"), names(folder));

    CommandRun eval =
        CommandRun.of("eval", out.toString(), "--data", EVAL, "--seq-len", "256", "--json");
    assertEquals(0, eval.code(), eval.err());
    double perplexity =
        JsonObject.of(Json.parse(eval.out(), "output"), "output").getDouble("perplexity");
    assertTrue(perplexity > 1.783 && perplexity < 1.790, "perplexity " + perplexity);
  }

  @Test
  void aDestinationThatHoldsFilesIsLeftAlone() throws IOException {
    Path out = Files.createDirectory(folder.resolve("full"));
    Files.writeString(out.resolve("precious"), "text");
    CommandRun run = quantize(out, "--samples", "1");
    assertEquals(1, run.code());
    assertEquals(1, run.err().lines().filter(line -> line.startsWith("fqt quantize: ")).count());
    assertEquals(List.of("precious"), names(out));
    assertEquals(List.of("full"), names(folder));
  }

  @Test
  void quantizingTwiceIsRefused() {
    Path out = folder.resolve("once");
    assertEquals(0, quantize(out, "--method", "rtn").code());
    CommandRun run =
        CommandRun.of(
            "quantize",
            out.toString(),
            "--out",
            folder.resolve("twice").toString(),
            "--method",
            "rtn");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("quantized already"), run.err());
  }

  @Test
  void wrongOptionsOfQuantizeAreUsageErrors() {
    for (List<String> wrong :
        List.of(
            List.of("--scheme", "w5a16"),
            List.of("--format", "gguf"),
            List.of("--method", "magic"),
            List.of("--group-size", "0"),
            List.of("--samples", "0"),
            List.of("--device", "abacus:x"))) {
      CommandRun run = quantize(folder.resolve("never"), wrong.toArray(String[]::new));
      assertEquals(2, run.code(), wrong + ": " + run.err());
      assertEquals(1, run.err().lines().count(), run.err());
    }
    CommandRun run = CommandRun.of("quantize", MODEL, "--out", folder.resolve("x").toString());
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--calib"), run.err());
  }

  @Test
  void onlyQuantizeRunsOnAllGpus() {
    CommandRun run = CommandRun.of("eval", MODEL, "--data", CALIB, "--device", "cuda:all");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("name one GPU"), run.err());
    assertEquals(1, run.err().lines().count(), run.err());
  }

  @Test
  void recordWritesAFileForEachSample() throws IOException {
    Path out = folder.resolve("recorded");
    CommandRun run =
        CommandRun.of(
            "record",
            MODEL,
            "--data",
            CALIB,
            "--samples",
            "3",
            "--module",
            "model.layers.1.mlp.down_proj",
            "--out",
            out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(3, names(out).size());
    try (Safetensors file = Safetensors.open(out.resolve("00002.safetensors"))) {
      assertArrayEquals(
          new long[] {256, 384}, file.get("model.layers.1.mlp.down_proj.0").shape().toArray());
    }
  }

  @Test
  void randomModelsLoad() {
    Path out = folder.resolve("random");
    CommandRun made =
        CommandRun.of(
            "random-model",
            out.toString(),
            "--hidden",
            "64",
            "--layers",
            "2",
            "--intermediate",
            "96",
            "--heads",
            "4",
            "--kv-heads",
            "2");
    assertEquals(0, made.code(), made.err());
    CommandRun eval = CommandRun.of("eval", out.toString(), "--data", CALIB, "--json");
    assertEquals(0, eval.code(), eval.err());
  }

  private CommandRun quantize(Path out, String... more) {
    List<String> line =
        new ArrayList<>(List.of("quantize", MODEL, "--out", out.toString(), "--calib", CALIB));
    line.addAll(List.of(more));
    return CommandRun.of(line.toArray(String[]::new));
  }

  private static List<String> names(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }
}
