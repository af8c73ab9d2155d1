package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.io.Json;
import fqt.io.Safetensors;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Each language model against what the reference implementation computed from it. */
class ReferenceTest {
  @ParameterizedTest
  @ValueSource(
      strings = {"tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen2moe", "tiny-qwen3moe"})
  void logitsAndHiddenStatesAreThoseOfTheReference(String name) {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU);
        Safetensors reference =
            Safetensors.open(Fixtures.path(name).resolve("reference.safetensors"))) {
      CausalLm.Output output = model.forward(reference.get("input_ids"), true);
      assertEquals(model.layers().size() + 1, output.hiddenStates().size());
      for (int i = 0; i < output.hiddenStates().size(); i++) {
        String state = "hidden_states." + i;
        Fixtures.assertClose(state, reference.get(state), output.hiddenStates().get(i), 1e-4);
      }
      Fixtures.assertClose("logits", reference.get("logits"), output.logits(), 1e-4);
      Tensor alone = model.forward(reference.get("input_ids"));
      assertArrayEquals(output.logits().toFloats(), alone.toFloats());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen2moe", "tiny-qwen3moe"})
  void greedyGenerationIsThatOfTheReference(String name) {
    try (CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU);
        Safetensors reference =
            Safetensors.open(Fixtures.path(name).resolve("reference.safetensors"))) {
      int[] prompt = ints(reference.get("generate.prompt"));
      int[] expected = ints(reference.get("generate.output"));
      GenerationConfig config = GenerationConfig.greedy(expected.length - prompt.length, Set.of());
      List<Integer> streamed = new ArrayList<>();
      int[] made = model.generate(prompt, config, streamed::add);
      assertArrayEquals(Arrays.copyOfRange(expected, prompt.length, expected.length), made);
      assertArrayEquals(made, streamed.stream().mapToInt(Integer::intValue).toArray());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen2moe", "tiny-qwen3moe"})
  void perplexityIsThatOfTheReference(String name) {
    double expected =
        Json.readObject(Fixtures.path("reference.json")).getObject(name).getDouble("ppl_fp32");
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU);
        Safetensors ids = Safetensors.open(Fixtures.path("eval_ids.safetensors"))) {
      Perplexity perplexity = Perplexity.of(model, ids.get("ids"), 256);
      assertEquals(expected, perplexity.value(), 1e-5 * expected);
      assertEquals(ids.get("ids").count() / 256 * 255, perplexity.predictions());
    }
  }

  @Test
  void generationEndsWithTheStopTokenOfTheCheckpoint() {
    Path folder = Fixtures.path("tiny-qwen2");
    try (CausalLm model = CausalLm.load(folder, Device.CPU);
        Safetensors reference = Safetensors.open(folder.resolve("reference.safetensors"))) {
      int[] prompt = ints(reference.get("generate.prompt"));
      int[] expected = ints(reference.get("generate.output"));
      int[] made = model.generate(prompt, GenerationConfig.load(folder), token -> {});
      assertEquals(1170, made[made.length - 1]);
      assertArrayEquals(
          Arrays.copyOfRange(expected, prompt.length, prompt.length + made.length), made);
    }
  }

  private static int[] ints(Tensor ids) {
    return Arrays.stream(ids.toLongs()).mapToInt(Math::toIntExact).toArray();
  }
}
