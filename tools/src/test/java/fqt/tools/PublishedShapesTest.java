package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.JsonObject;
import fqt.models.ModelConfig;
import fqt.tensor.Shape;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Shapes are right if they have as many parameters as the published checkpoints. */
class PublishedShapesTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "qwen2-0.5b, 494032768",
    "qwen2-1.5b, 1543714304",
    "qwen2-7b, 7615616512",
    "qwen2.5-3b, 3085938688",
    "qwen2.5-7b, 7615616512",
    "qwen2.5-14b, 14770033664",
    "qwen2.5-32b, 32763876352",
    "qwen2.5-72b, 72706203648",
    "qwen3-0.6b, 596049920",
    "qwen3-1.7b, 1720574976",
    "qwen3-4b, 4022468096",
    "qwen3-8b, 8190735360",
    "qwen3-14b, 14768307200",
    "qwen3-32b, 32762123264",
    "qwen1.5-moe-a2.7b, 14315784192",
    "qwen3-30b-a3b, 30532122624",
    "llama-3.1-8b, 8030261248",
    "llama-3.1-70b, 70553706496",
    "llama-3.2-1b, 1235814400",
    "llama-3.2-3b, 3212749824",
    "qwen2-vl-2b, 2208985600",
    "qwen2-vl-7b, 8291375616",
    "qwen2.5-vl-3b, 3754622976",
    "qwen2.5-vl-7b, 8292166656"
  })
  void shapesHaveThePublishedNumberOfParameters(String name, long parameters) {
    ModelConfig config = ModelConfig.of(new JsonObject(PublishedShapes.find(name), name));
    assertEquals(
        parameters, config.tensors().values().stream().mapToLong(Shape::count).sum(), name);
  }

  @Test
  void aShapeOfEveryFamilyIsMadeAndLoads() {
    String[] fixtures = {"qwen2", "qwen3", "llama", "qwen2moe", "qwen3moe"};
    for (String fixture : fixtures) {
      String config = System.getProperty("fqt.fixtures") + "/tiny-" + fixture;
      String out = folder.resolve(fixture).toString();
      CommandRun made = CommandRun.of("random-model", out, "--shape", config);
      assertEquals(0, made.code(), made.err());
      CommandRun eval =
          CommandRun.of(
              "eval", out, "--data", System.getProperty("fqt.fixtures") + "/calib_ids.safetensors");
      assertEquals(0, eval.code(), eval.err());
      CommandRun inspect = CommandRun.of("inspect", out);
      assertTrue(inspect.out().contains("weights       random, from seed 0"), inspect.out());
    }
  }

  @Test
  void sizesReplaceThoseOfTheShape() {
    String out = folder.resolve("small").toString();
    CommandRun made =
        CommandRun.of(
            "random-model",
            out,
            "--shape",
            System.getProperty("fqt.fixtures") + "/tiny-qwen25vl",
            "--layers",
            "1",
            "--hidden",
            "256",
            "--intermediate",
            "64",
            "--heads",
            "8",
            "--vocabulary",
            "1280");
    assertEquals(0, made.code(), made.err());
    ModelConfig config = ModelConfig.read(folder.resolve("small"));
    assertEquals(256, config.text().hidden());
    assertEquals(256, config.vision().output());
    assertEquals(1, config.text().layers());
    CommandRun eval =
        CommandRun.of(
            "eval", out, "--data", System.getProperty("fqt.fixtures") + "/calib_ids.safetensors");
    assertEquals(0, eval.code(), eval.err());
  }

  @Test
  void whatCannotBeIsWrongUsage() {
    String out = folder.resolve("bad").toString();
    CommandRun unknown = CommandRun.of("random-model", out, "--shape", "qwen9");
    assertEquals(2, unknown.code());
    assertTrue(
        unknown.err().contains("'qwen9' is neither a file nor one of qwen2-0.5b, "), unknown.err());
    CommandRun uneven = CommandRun.of("random-model", out, "--heads", "7", "--kv-heads", "7");
    assertEquals(2, uneven.code(), uneven.err());
    CommandRun words = CommandRun.of("random-model", out, "--vocabulary", "100");
    assertEquals(
        "fqt random-model: the vocabulary is 100; expected 1280 or more"
            + " ('fqt random-model --help' tells more)",
        words.err().strip());
  }
}
