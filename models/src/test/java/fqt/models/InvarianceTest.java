package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;

import fqt.nn.KvCache;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Backends;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What must hold for every model, whatever its weights. */
class InvarianceTest {
  static Stream<ModelConfig> configurations() {
    Map<String, Object> yarn =
        Map.of("rope_type", "yarn", "factor", 4L, "original_max_position_embeddings", 32L);
    return Stream.of(
        RandomCheckpoint.config("qwen2"),
        RandomCheckpoint.config("qwen2", "tie_word_embeddings", true, "rope_scaling", yarn),
        RandomCheckpoint.config(
            "qwen2", "use_sliding_window", true, "sliding_window", 5L, "max_window_layers", 1L),
        RandomCheckpoint.config("qwen3", "num_key_value_heads", 3L, "head_dim", 8L),
        RandomCheckpoint.config("llama", "attention_bias", true, "mlp_bias", true),
        RandomCheckpoint.config(
            "qwen2_moe",
            "num_experts",
            5L,
            "num_experts_per_tok",
            3L,
            "moe_intermediate_size",
            12L,
            "shared_expert_intermediate_size",
            20L),
        RandomCheckpoint.config(
            "qwen3_moe",
            "num_experts",
            4L,
            "num_experts_per_tok",
            2L,
            "norm_topk_prob",
            true,
            "moe_intermediate_size",
            12L,
            "decoder_sparse_step",
            2L));
  }

  @ParameterizedTest
  @MethodSource("configurations")
  void decodingWithACacheIsAFullForwardPass(ModelConfig config) {
    try (Scope scope = Scope.open();
        CausalLm model = RandomCheckpoint.model(config, 1)) {
      Tensor ids = Fixtures.ids(new Random(2), 50, 1, 17);
      Tensor full = model.forward(ids).reshape(17, 50);
      KvCache cache = model.newCache(17);
      long[] bounds = {0, 7, 8, 9, 13, 17};
      for (int i = 0; i + 1 < bounds.length; i++) {
        Tensor next = ids.reshape(-1).slice(0, bounds[i], bounds[i + 1]);
        LayerArgs args = model.args(cache, bounds[i], bounds[i + 1] - bounds[i]);
        Tensor logits = model.finish(model.runLayers(model.embed(next), args));
        Fixtures.assertClose("logits", full.slice(0, bounds[i], bounds[i + 1]), logits, 1e-5);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("configurations")
  void packedSequencesDoNotSeeEachOther(ModelConfig config) {
    try (Scope scope = Scope.open();
        CausalLm model = RandomCheckpoint.model(config, 3)) {
      Tensor ids = Fixtures.ids(new Random(4), 50, 33);
      Tensor packed = model.finish(model.runLayers(model.embed(ids), model.args(0, 1, 14, 14, 33)));
      long[] bounds = {0, 1, 14, 33};
      for (int i = 0; i + 1 < bounds.length; i++) {
        long length = bounds[i + 1] - bounds[i];
        Tensor alone = ids.slice(0, bounds[i], bounds[i + 1]).reshape(1, length);
        Tensor expected = model.forward(alone).reshape(length, 50);
        Fixtures.assertClose(
            "sequence " + i, expected, packed.slice(0, bounds[i], bounds[i + 1]), 1e-5);
      }
    }
  }

  @Test
  void aWindowHidesWhatIsFurtherBack() {
    ModelConfig config =
        RandomCheckpoint.config(
            "qwen2",
            "num_hidden_layers",
            1L,
            "use_sliding_window",
            true,
            "sliding_window",
            4L,
            "layer_types",
            List.of("sliding_attention"));
    try (Scope scope = Scope.open();
        CausalLm model = RandomCheckpoint.model(config, 5)) {
      Tensor ids = Fixtures.ids(new Random(6), 49, 1, 12);
      float[] before = model.forward(ids).reshape(12, 50).select(0, 9).toFloats();
      assertArrayEquals(before, logitsOfToken9(model, ids, 5), "a token four places back");
      assertNotEquals(before[0], logitsOfToken9(model, ids, 6)[0], "a token three places back");
    }
  }

  private static float[] logitsOfToken9(CausalLm model, Tensor ids, int changed) {
    int[] tokens = new int[12];
    for (int i = 0; i < 12; i++) {
      tokens[i] = (int) ids.getLong(0, i) + (i == changed ? 1 : 0);
    }
    return model.forward(Ops.of(tokens, 1, 12)).reshape(12, 50).select(0, 9).toFloats();
  }

  @Test
  void nothingIsLeftInMemory() {
    ModelConfig config = RandomCheckpoint.config("qwen2");
    try (Scope scope = Scope.open()) {
      RandomCheckpoint tensors = RandomCheckpoint.of(config, 7);
      Tensor ids = Fixtures.ids(new Random(8), 50, 3, 9);
      long before = Backends.of(Device.CPU).liveBytes();
      try (CausalLm model = CausalLm.of(config, tensors, Device.CPU);
          Scope inner = Scope.open()) {
        model.forward(ids, true);
        model.generate(new int[] {1, 2}, GenerationConfig.greedy(5, Set.of()), token -> {});
        Perplexity.of(model, ids, 4);
      }
      assertEquals(before, Backends.of(Device.CPU).liveBytes());
    }
  }

  @Test
  void aLayerStaysTheSameUntilItIsReleased() {
    ModelConfig config = RandomCheckpoint.config("qwen2");
    try (CausalLm model = RandomCheckpoint.model(config, 9)) {
      Module first = model.layers().get(1);
      assertSame(first, model.layers().get(1));
      model.release(1);
      assertNotSame(first, model.layers().get(1));
      assertEquals("model.layers.1", model.layerPrefix(1));
    }
  }

  @Test
  void queriesKeysAndValuesSeeTheSameTensor() {
    try (Scope scope = Scope.open();
        CausalLm model = RandomCheckpoint.model(RandomCheckpoint.config("qwen3"), 10)) {
      Module layer = model.layers().getFirst();
      Tensor[] seen = new Tensor[3];
      String[] names = {"q_proj", "k_proj", "v_proj"};
      for (int i = 0; i < 3; i++) {
        int at = i;
        layer.find("self_attn." + names[i]).before((m, input, args) -> seen[at] = input);
      }
      model.forward(Fixtures.ids(new Random(11), 50, 1, 3));
      assertSame(seen[0], seen[1]);
      assertSame(seen[0], seen[2]);
    }
  }
}
