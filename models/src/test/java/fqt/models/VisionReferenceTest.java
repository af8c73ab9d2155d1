package fqt.models;

import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.io.Safetensors;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Models with vision against what the reference implementation computed from them. */
class VisionReferenceTest {
  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void blocksAndTokensAreThoseOfTheReference(String name) {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU);
        Safetensors reference =
            Safetensors.open(Fixtures.path(name).resolve("reference.safetensors"))) {
      Pictures pictures =
          Pictures.of(reference.get("pixel_values"), reference.get("image_grid_thw"));
      VisionTower tower = model.vision();
      Tensor hidden = tower.embed(pictures);
      for (int i = 0; i < tower.blocks().size(); i++) {
        hidden = tower.blocks().get(i).apply(hidden, tower.args(pictures, i));
        Fixtures.assertClose("block " + i, reference.get("vision.block." + i), hidden, 1e-4);
      }
      Tensor expected = reference.get("vision.output");
      Fixtures.assertClose("merged", expected, tower.merge(hidden, pictures), 1e-4);
      Fixtures.assertClose("whole tower", expected, tower.forward(pictures), 1e-4);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void logitsAreThoseOfTheReference(String name) {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU);
        Safetensors reference =
            Safetensors.open(Fixtures.path(name).resolve("reference.safetensors"))) {
      Pictures pictures =
          Pictures.of(reference.get("pixel_values"), reference.get("image_grid_thw"));
      CausalLm.Output output = model.forward(reference.get("input_ids"), pictures, true);
      Fixtures.assertClose("logits", reference.get("logits"), output.logits(), 1e-4);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void pixelsAreThoseOfTheReference(String name) {
    try (Scope scope = Scope.open();
        Safetensors reference =
            Safetensors.open(Fixtures.path(name).resolve("reference.safetensors"))) {
      Pictures pictures =
          ImageProcessor.load(Fixtures.path(name))
              .process(Picture.read(Fixtures.path("picture.png")));
      assertEquals(
          Pictures.of(reference.get("pixel_values"), reference.get("image_grid_thw")).grids(),
          pictures.grids());
      float[] expected = reference.get("pixel_values").toFloats();
      float[] actual = pictures.pixels().toFloats();
      double worst = 0;
      for (int i = 0; i < expected.length; i++) {
        worst = Math.max(worst, Math.abs(expected[i] - actual[i]));
      }
      assertEquals(0, worst, 1e-6);
    }
  }
}
