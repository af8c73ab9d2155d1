package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.io.Safetensors;
import fqt.tensor.DType;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Commands on models that see pictures. */
class PictureCommandsTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  @TempDir private Path folder;

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void forwardSeesThePictures(String name) {
    Path model = FIXTURES.resolve(name);
    assertForward(model, model, 1e-3f, "logits", "vision.output");
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
}
