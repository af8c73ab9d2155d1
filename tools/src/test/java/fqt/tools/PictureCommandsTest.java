package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.io.Safetensors;
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
    Path reference = model.resolve("reference.safetensors");
    Path out = folder.resolve("states.safetensors");
    CommandRun run =
        CommandRun.of(
            "forward", model.toString(), "--inputs", reference.toString(), "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    try (Safetensors ours = Safetensors.open(out);
        Safetensors theirs = Safetensors.open(reference)) {
      for (String tensor : new String[] {"logits", "vision.output"}) {
        float[] expected = theirs.get(tensor).toFloats();
        float largest = 0;
        for (float value : expected) {
          largest = Math.max(largest, Math.abs(value));
        }
        assertArrayEquals(expected, ours.get(tensor).toFloats(), 1e-3f * largest, tensor);
      }
    }
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
