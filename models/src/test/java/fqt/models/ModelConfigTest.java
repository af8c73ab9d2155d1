package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.FileFormatException;
import fqt.nn.Attention;
import fqt.nn.RotaryScaling;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What configurations mean, in the old style and the new. */
class ModelConfigTest {
  @Test
  void rotaryEntriesOfTheOldStyle() {
    Map<String, Object> llama3 =
        Map.of(
            "type",
            "llama3",
            "factor",
            8L,
            "low_freq_factor",
            1.0,
            "high_freq_factor",
            4.0,
            "original_max_position_embeddings",
            8192L);
    RotaryConfig rotary =
        RandomCheckpoint.config("llama", "rope_theta", 5e5, "rope_scaling", llama3).text().rotary();
    assertEquals(5e5, rotary.theta());
    assertEquals(new RotaryScaling.Llama3(8, 1, 4, 8192), rotary.scaling());
    assertEquals(6, rotary.dimensions());
  }

  @Test
  void rotaryEntriesOfTheNewStyle() {
    Map<String, Object> entries = Map.of("rope_type", "linear", "factor", 2.5, "rope_theta", 100L);
    RotaryConfig rotary =
        RandomCheckpoint.config("qwen2", "rope_parameters", entries).text().rotary();
    assertEquals(100, rotary.theta());
    assertEquals(new RotaryScaling.Linear(2.5), rotary.scaling());
  }

  @Test
  void yarnFillsInWhatIsNotSaid() {
    Map<String, Object> entries = Map.of("rope_type", "yarn", "factor", 4L);
    RotaryConfig rotary =
        RandomCheckpoint.config("qwen2", "rope_scaling", entries, "max_position_embeddings", 32768L)
            .text()
            .rotary();
    double attention = 0.1 * Math.log(4) + 1;
    assertEquals(new RotaryScaling.Yarn(4, 32, 1, attention, 32768, true), rotary.scaling());
    assertEquals(10000, rotary.theta());
  }

  @Test
  void yarnTakesTheRatioOfTwoScales() {
    Map<String, Object> entries =
        Map.of(
            "rope_type",
            "yarn",
            "factor",
            40L,
            "mscale",
            1.0,
            "mscale_all_dim",
            0.707,
            "original_max_position_embeddings",
            4096L);
    RotaryScaling.Yarn yarn =
        (RotaryScaling.Yarn)
            RandomCheckpoint.config("qwen2", "rope_parameters", entries).text().rotary().scaling();
    // (0.1 ln 40 + 1) / (0.0707 ln 40 + 1)
    assertEquals(1.0857265, yarn.attentionFactor(), 1e-6);
  }

  @Test
  void windowsFollowTheLayerTypesOrTheFirstWindowedLayer() {
    List<String> types = List.of("full_attention", "sliding_attention", "full_attention");
    assertArrayEquals(
        new long[] {0, 7, 0}, windows("qwen2", "use_sliding_window", true, "layer_types", types));
    assertArrayEquals(
        new long[] {0, 0, 7},
        windows("qwen2", "use_sliding_window", true, "max_window_layers", 2L));
    assertArrayEquals(
        new long[] {0, 0, 0}, windows("qwen2", "use_sliding_window", false, "layer_types", types));
    assertArrayEquals(
        new long[] {7, 7, 7},
        windows(
            "qwen3_moe",
            "use_sliding_window",
            true,
            "num_experts",
            2L,
            "num_experts_per_tok",
            1L,
            "moe_intermediate_size",
            4L));
  }

  private static long[] windows(String modelType, Object... entries) {
    Object[] all = new Object[entries.length + 4];
    System.arraycopy(entries, 0, all, 4, entries.length);
    all[0] = "sliding_window";
    all[1] = 7L;
    all[2] = "num_hidden_layers";
    all[3] = 3L;
    return RandomCheckpoint.config(modelType, all).text().heads().stream()
        .mapToLong(Attention.Heads::window)
        .toArray();
  }

  @Test
  void expertsComeEverySoManyLayersExceptTheDenseOnes() {
    TextConfig text =
        RandomCheckpoint.config(
                "qwen3_moe",
                "num_hidden_layers",
                6L,
                "num_local_experts",
                8L,
                "num_experts_per_tok",
                2L,
                "moe_intermediate_size",
                4L,
                "decoder_sparse_step",
                2L,
                "mlp_only_layers",
                List.of(3L))
            .text();
    boolean[] sparse = new boolean[6];
    for (int i = 0; i < 6; i++) {
      sparse[i] = text.sparse(i);
    }
    assertArrayEquals(new boolean[] {false, true, false, false, false, true}, sparse);
    assertEquals(8, text.experts().experts());
  }

  @Test
  void biasesFollowTheFamily() {
    TextConfig qwen2 = RandomCheckpoint.config("qwen2").text();
    assertTrue(qwen2.inputBias());
    assertFalse(qwen2.outputBias());
    TextConfig llama = RandomCheckpoint.config("llama", "attention_bias", true).text();
    assertTrue(llama.inputBias());
    assertTrue(llama.outputBias());
    assertFalse(llama.mlpBias());
    assertFalse(RandomCheckpoint.config("qwen3").text().inputBias());
  }

  @Test
  void anUnknownModelTypeIsRefusedByNameWithTheListOfKnownOnes() {
    String message =
        assertThrows(FileFormatException.class, () -> RandomCheckpoint.config("gpt_bigcode"))
            .getMessage();
    assertTrue(message.contains("'gpt_bigcode' is not supported"), message);
    for (String type : List.of("qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "llama")) {
      assertTrue(message.contains(type), message);
    }
  }

  @Test
  void wrongEntriesAreNamed() {
    assertRefused("num_hidden_layers is 0", "num_hidden_layers", 0L);
    assertRefused("num_key_value_heads is 4, expected a divisor of 6", "num_key_value_heads", 4L);
    assertRefused("hidden_act is \"tanh\"", "hidden_act", "tanh");
    assertRefused("rope_type is \"dynamic\"", "rope_scaling", Map.of("rope_type", "dynamic"));
    assertRefused(
        "layer_types is 1, expected 2 entries",
        "layer_types",
        List.of("full_attention"),
        "use_sliding_window",
        true,
        "sliding_window",
        3L);
  }

  private static void assertRefused(String part, Object... entries) {
    String message =
        assertThrows(FileFormatException.class, () -> RandomCheckpoint.config("qwen2", entries))
            .getMessage();
    assertTrue(message.contains(part), message);
  }
}
