package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import fqt.io.TensorSource;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Models with vision: names old and new, continuing texts with pictures, refusals. */
class PictureModelTest {
  private static final Path FOLDER = Fixtures.path("tiny-qwen25vl");

  private static Pictures pictures(Safetensors reference) {
    return Pictures.of(reference.get("pixel_values"), reference.get("image_grid_thw"));
  }

  private static int[] ints(Tensor ids) {
    return Arrays.stream(ids.toLongs()).mapToInt(Math::toIntExact).toArray();
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void continuingWithACacheIsRepeatedForwardPasses(String name) {
    Path folder = Fixtures.path(name);
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(folder, Device.CPU);
        Safetensors reference = Safetensors.open(folder.resolve("reference.safetensors"))) {
      int[] prompt = ints(reference.get("input_ids"));
      Pictures pictures = pictures(reference);
      GenerationConfig config = GenerationConfig.greedy(6, Set.of());
      int[] made = model.generate(prompt, pictures, config, token -> {});
      int[] text = prompt;
      for (int token : made) {
        Tensor ids = Ops.of(text, 1, text.length);
        Tensor logits = model.forward(ids, pictures, false).logits().select(0, 0);
        Sampler sampler = new Sampler(config, logits.dim(1));
        assertEquals(sampler.next(logits.select(0, text.length - 1)), token);
        text = Arrays.copyOf(text, text.length + 1);
        text[text.length - 1] = token;
      }
    }
  }

  @Test
  void thePictureMatters() {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(FOLDER, Device.CPU);
        Safetensors reference = Safetensors.open(FOLDER.resolve("reference.safetensors"))) {
      Tensor ids = reference.get("input_ids");
      Pictures pictures = pictures(reference);
      Pictures darker = new Pictures(Ops.affine(pictures.pixels(), 1, -1), pictures.grids());
      assertNotEquals(
          model.forward(ids, pictures, false).logits().get(0, 27, 0),
          model.forward(ids, darker, false).logits().get(0, 27, 0));
    }
  }

  /** The same checkpoint under the names of newer versions. */
  private record Renamed(TensorSource tensors) implements TensorSource {
    private static String renamed(String name) {
      return name.startsWith("visual.")
          ? "model." + name
          : name.replaceFirst("^model\\.", "model.language_model.");
    }

    @Override
    public Set<String> names() {
      Set<String> names = new LinkedHashSet<>();
      tensors.names().forEach(name -> names.add(renamed(name)));
      return names;
    }

    @Override
    public Tensor get(String name) {
      return tensors.get(
          name.replaceFirst("^model\\.visual\\.", "visual.")
              .replaceFirst("^model\\.language_model\\.", "model."));
    }
  }

  @Test
  void namesOfNewerVersionsLoad() {
    try (Scope scope = Scope.open();
        Safetensors tensors = Safetensors.open(FOLDER);
        Safetensors reference = Safetensors.open(FOLDER.resolve("reference.safetensors"));
        CausalLm model = CausalLm.of(ModelConfig.read(FOLDER), new Renamed(tensors), Device.CPU)) {
      Tensor logits =
          model.forward(reference.get("input_ids"), pictures(reference), false).logits();
      Fixtures.assertClose("logits", reference.get("logits"), logits, 1e-4);
      assertEquals("model.language_model.layers.1", model.layerPrefix(1));
      assertEquals("model.visual.blocks.2", model.vision().blockPrefix(2));
      assertSame(
          model.layers().getFirst().find("mlp.up_proj"),
          model.module("model.language_model.layers.0.mlp.up_proj"));
    }
  }

  /** Older configurations have the language model's entries beside the others. */
  @Test
  void configurationsOfOlderVersionsLoad() {
    JsonObject config = Json.readObject(FOLDER.resolve(ModelConfig.FILE));
    Map<String, Object> entries = new LinkedHashMap<>(config.getObject("text_config").values());
    entries.remove("rope_parameters");
    entries.put("rope_scaling", Map.of("type", "mrope", "mrope_section", List.of(4L, 6L, 6L)));
    entries.put("rope_theta", 10000.0);
    entries.put("model_type", "qwen2_5_vl");
    entries.put("vision_config", config.getObject("vision_config").values());
    entries.put("image_token_id", 253L);
    ModelConfig read = ModelConfig.read(FOLDER);
    ModelConfig old = ModelConfig.of(new JsonObject(entries, "test"));
    assertEquals(read.text().heads(), old.text().heads());
    assertArrayEquals(read.text().rotary().sections(), old.text().rotary().sections());
    assertEquals(read.text().tied(), old.text().tied());
    assertEquals(read.vision().hidden(), old.vision().hidden());
    assertEquals(253, old.pictureTokens().picture());
  }

  @Test
  void modulesAreFoundByTheirPaths() {
    try (CausalLm model = CausalLm.load(FOLDER, Device.CPU)) {
      assertSame(model.layers().get(1), model.module("model.layers.1"));
      assertSame(
          model.vision().blocks().get(3).find("attn.qkv"),
          model.module("visual.blocks.3.attn.qkv"));
      assertSame(model.head(), model.module("lm_head"));
      assertThrows(NoSuchElementException.class, () -> model.module("model.layers.2"));
      assertThrows(NoSuchElementException.class, () -> model.module("model.layers.x.mlp"));
      assertThrows(NoSuchElementException.class, () -> model.module("model.layers.1.mlpp"));
      assertThrows(NoSuchElementException.class, () -> model.module("model.head"));
    }
  }

  @Test
  void aModelWithoutVisionRefusesPictures() {
    try (Scope scope = Scope.open();
        CausalLm model = RandomCheckpoint.model(RandomCheckpoint.config("qwen2"), 1);
        Safetensors reference = Safetensors.open(FOLDER.resolve("reference.safetensors"))) {
      Pictures pictures = pictures(reference);
      Tensor ids = Ops.of(new int[] {1}, 1, 1);
      assertThrows(IllegalArgumentException.class, () -> model.forward(ids, pictures, false));
    }
  }
}
