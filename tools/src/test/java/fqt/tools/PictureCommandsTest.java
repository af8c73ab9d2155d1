package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Json;
import fqt.io.Safetensors;
import fqt.io.SafetensorsWriter;
import fqt.models.CausalLm;
import fqt.models.ImageProcessor;
import fqt.models.Picture;
import fqt.models.Pictures;
import fqt.models.tokenizer.Tokenizer;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Commands on models that see pictures. */
class PictureCommandsTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  /** First of the numbers after which tiny-qwen25vl has its picture tokens. */
  private static final int SPECIAL = 249;

  @TempDir private Path folder;

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void forwardSeesThePictures(String name) {
    Path model = FIXTURES.resolve(name);
    assertForward(model, model, 1e-3f, "logits", "vision.output");
  }

  private static void assertClose(Tensor expected, Tensor actual) {
    float[] values = expected.toFloats();
    assertArrayEquals(values, actual.toFloats(), 1e-2f * values[largest(values)]);
  }

  private void assertForward(Path model, Path original, float tolerance, String... tensors) {
    Path reference = original.resolve("reference.safetensors");
    Path out = folder.resolve("states.safetensors");
    CommandRun run =
        CommandRun.of(
            "forward", model.toString(), "--inputs", reference.toString(), "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    try (Safetensors ours = Safetensors.open(out);
        Safetensors theirs = Safetensors.open(reference)) {
      for (String tensor : tensors) {
        float[] expected = theirs.get(tensor).toFloats();
        float largest = 0;
        for (float value : expected) {
          largest = Math.max(largest, Math.abs(value));
        }
        assertArrayEquals(expected, ours.get(tensor).toFloats(), tolerance * largest, tensor);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void eightBitsQuantizeTheTowerToo(String name) {
    Path original = FIXTURES.resolve(name);
    Path quantized = quantize(original, "w8a8-int8");
    try (Safetensors file = Safetensors.open(quantized)) {
      assertEquals(DType.I8, file.get("visual.blocks.1.attn.qkv.weight").dtype());
      assertEquals(DType.BF16, file.get("visual.merger.mlp.0.weight").dtype());
    }
    assertForward(quantized, original, 0.05f, "vision.output");
  }

  @Test
  void fourBitsLeaveTheTowerAsItIs() {
    Path original = FIXTURES.resolve("tiny-qwen25vl");
    Path quantized = quantize(original, "w4a16");
    try (Safetensors file = Safetensors.open(quantized)) {
      assertEquals(DType.BF16, file.get("visual.blocks.1.attn.qkv.weight").dtype());
    }
    assertForward(quantized, original, 1e-3f, "vision.output");
  }

  /** A tower that was shown the picture is closer to the original than one that was not. */
  @ParameterizedTest
  @ValueSource(strings = {"gptq", "smoothquant", "smoothquant+gptq"})
  void picturesCalibrateTheTower(String method) {
    Path original = FIXTURES.resolve("tiny-qwen25vl");
    Path out = folder.resolve("calibrated");
    Path ids = folder.resolve("ids.safetensors");
    int[] text = new Random(5).ints(4 * 64, 1, 200).toArray();
    SafetensorsWriter.writeFile(ids, Map.of("ids", Ops.of(text, 4, 64)), Map.of());
    CommandRun run =
        CommandRun.of(
            "quantize",
            original.toString(),
            "--out",
            out.toString(),
            "--method",
            method,
            "--scheme",
            "w8a8-int8",
            "--calib",
            ids.toString(),
            "--image",
            FIXTURES.resolve("picture.png").toString());
    assertEquals(0, run.code(), run.err());
    double calibrated = visionError(out);
    double rounded = visionError(quantize(original, "w8a8-int8"));
    assertTrue(calibrated < rounded, method + " " + calibrated + ", rounded " + rounded);
  }

  /** Mean square error of what the tower of tiny-qwen25vl gives for the picture. */
  private static double visionError(Path folder) {
    try (Safetensors theirs =
            Safetensors.open(FIXTURES.resolve("tiny-qwen25vl/reference.safetensors"));
        CausalLm model = CausalLm.load(folder, Device.CPU);
        Scope scope = Scope.open()) {
      Pictures pictures =
          Pictures.of(Ops.to(theirs.get("pixel_values"), DType.F32), theirs.get("image_grid_thw"));
      float[] ours = model.vision().forward(pictures).toFloats();
      float[] expected = theirs.get("vision.output").toFloats();
      double sum = 0;
      for (int i = 0; i < ours.length; i++) {
        sum += (ours[i] - expected[i]) * (double) (ours[i] - expected[i]);
      }
      return sum / ours.length;
    }
  }

  private Path quantize(Path model, String scheme) {
    Path out = folder.resolve(scheme);
    CommandRun run =
        CommandRun.of(
            "quantize",
            model.toString(),
            "--out",
            out.toString(),
            "--method",
            "rtn",
            "--scheme",
            scheme);
    assertEquals(0, run.code(), run.err());
    boolean left = run.err().contains("the vision tower stays in floating point");
    assertEquals(scheme.equals("w4a16"), left);
    return out;
  }

  @Test
  void aModelThatSeesNothingSaysSo() {
    CommandRun run =
        CommandRun.of(
            "generate",
            FIXTURES.resolve("tiny-qwen2").toString(),
            "--prompt",
            "What is this?",
            "--image",
            FIXTURES.resolve("picture.png").toString());
    assertEquals(1, run.code());
    assertEquals("fqt generate: a model of type 'qwen2' sees no pictures", run.err().strip());
  }

  @Test
  void recordsAnyModuleThatPicturesReach() {
    Path reference = FIXTURES.resolve("tiny-qwen25vl/reference.safetensors");
    try (Safetensors theirs = Safetensors.open(reference);
        Safetensors block = recorded("visual.blocks.2");
        Safetensors linear = recorded("visual.blocks.1.mlp.down_proj");
        Safetensors merger = recorded("visual.merger.mlp.2");
        Safetensors text = recorded("model.layers.1");
        Safetensors head = recorded("lm_head")) {
      Tensor output = block.get("model_output.0");
      assertClose(theirs.get("vision.block.2"), output);
      assertEquals(output.dim(0), linear.get("visual.blocks.1.mlp.down_proj.0").dim(0));
      long tokens = output.dim(0) / 4;
      assertEquals(tokens, merger.get("visual.merger.mlp.2.0").dim(0));
      assertEquals(tokens + 2, text.get("model_input.0").dim(0), "a token before and one after");
      assertEquals(tokens + 2, head.get("lm_head.0").dim(0));
    }
  }

  private Safetensors recorded(String module) {
    Path out = folder.resolve(module);
    CommandRun run =
        CommandRun.of(
            "record",
            FIXTURES.resolve("tiny-qwen25vl").toString(),
            "--image",
            FIXTURES.resolve("picture.png").toString(),
            "--module",
            module,
            "--out",
            out.toString());
    assertEquals(0, run.code(), run.err());
    return Safetensors.open(out.resolve("00000.safetensors"));
  }

  @Test
  void aTowerReadsNoText() {
    CommandRun run =
        CommandRun.of(
            "record",
            FIXTURES.resolve("tiny-qwen25vl").toString(),
            "--data",
            FIXTURES.resolve("eval_ids.safetensors").toString(),
            "--module",
            "visual.blocks.0",
            "--out",
            folder.resolve("none").toString());
    assertEquals(2, run.code());
    assertEquals(
        "fqt record: module 'visual.blocks.0' sees pictures alone; give some by --image"
            + " ('fqt record --help' tells more)",
        run.err().lines().findFirst().orElseThrow());
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void generatesFromAPicture(boolean chat) throws IOException {
    Path model = speakingModel();
    Path picture = FIXTURES.resolve("picture.png");
    List<String> line =
        new ArrayList<>(
            List.of(
                "generate",
                model.toString(),
                "--prompt",
                "What is this?",
                "--image",
                picture.toString(),
                "--temperature",
                "0",
                "--max-new-tokens",
                "6"));
    if (chat) {
      line.add("--chat");
    }
    CommandRun run = CommandRun.of(line.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    String asked = "<|vision_start|><|image_pad|><|vision_end|>What is this?";
    String prompt =
        chat ? "<|im_start|>user\n" + asked + "<|im_end|>\n<|im_start|>assistant\n" : asked;
    assertEquals(greedy(model, picture, prompt, 6), run.out().stripTrailing());
  }

  /** Likeliest tokens by whole forward passes, without the cache that generation uses. */
  private static String greedy(Path folder, Path picture, String prompt, int count) {
    try (CausalLm model = CausalLm.load(folder, Device.CPU);
        Scope scope = Scope.open()) {
      Tokenizer tokenizer = Tokenizer.load(folder);
      Pictures pictures = ImageProcessor.load(folder).process(List.of(Picture.read(picture)));
      int[] ids = model.expand(tokenizer.encode(prompt), pictures);
      int[] added = new int[count];
      for (int i = 0; i < count; i++) {
        Tensor logits = model.forward(Ops.of(ids, 1, ids.length), pictures, false).logits();
        float[] last = logits.select(1, ids.length - 1).toFloats();
        added[i] = largest(last);
        ids = Arrays.copyOf(ids, ids.length + 1);
        ids[ids.length - 1] = added[i];
      }
      return tokenizer.decode(added, true).stripTrailing();
    }
  }

  private static int largest(float[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      best = values[i] > values[best] ? i : best;
    }
    return best;
  }

  /** The fixture, which has no tokenizer, with one of single bytes and a template beside it. */
  private Path speakingModel() throws IOException {
    Path model = Files.createDirectory(folder.resolve("speaking"));
    try (Stream<Path> files = Files.list(FIXTURES.resolve("tiny-qwen25vl"))) {
      for (Path file : files.toList()) {
        Files.copy(file, model.resolve(file.getFileName()));
      }
    }
    Map<String, Object> vocabulary = new LinkedHashMap<>();
    for (int id = 0, next = 256; id < SPECIAL; id++) {
      boolean visible = id > 32 && id < 127 || id > 160 && id != 173;
      vocabulary.put(Character.toString(visible ? id : next++), id);
    }
    List<Object> added = new ArrayList<>();
    for (String token :
        "im_start im_end vision_start vision_end image_pad video_pad endoftext".split(" ")) {
      String content = "<|" + token + "|>";
      added.add(Map.of("id", SPECIAL + added.size(), "content", content, "special", true));
    }
    Map<String, Object> tokenizer = new LinkedHashMap<>();
    tokenizer.put("added_tokens", added);
    tokenizer.put("pre_tokenizer", Map.of("type", "ByteLevel", "add_prefix_space", false));
    tokenizer.put("decoder", Map.of("type", "ByteLevel"));
    tokenizer.put("model", Map.of("type", "BPE", "vocab", vocabulary, "merges", List.of()));
    Json.write(model.resolve("tokenizer.json"), tokenizer);
    Files.copy(
        FIXTURES.resolve("tiny-qwen2/chat_template.jinja"), model.resolve("chat_template.jinja"));
    return model;
  }
}
