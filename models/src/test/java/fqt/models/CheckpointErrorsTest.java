package fqt.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.FileFormatException;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Checkpoints that do not fit their configuration are refused in one sentence. */
class CheckpointErrorsTest {
  private final ModelConfig config = RandomCheckpoint.config("qwen2");
  private final RandomCheckpoint tensors = RandomCheckpoint.of(config, 1);

  private String refusal() {
    return assertThrows(FileFormatException.class, () -> CausalLm.of(config, tensors, Device.CPU))
        .getMessage();
  }

  @Test
  void aMissingTensorIsNamed() {
    tensors.remove("model.layers.1.self_attn.k_proj.bias");
    assertEquals(
        "the checkpoint lacks tensor 'model.layers.1.self_attn.k_proj.bias', which its"
            + " configuration asks for",
        refusal());
  }

  @Test
  void aSurplusTensorIsNamed() {
    tensors.put("model.layers.0.self_attn.o_proj.bias", Ops.of(new float[24], 24));
    assertEquals(
        "the checkpoint has tensors that its configuration has no place for:"
            + " 'model.layers.0.self_attn.o_proj.bias'",
        refusal());
  }

  @Test
  void manySurplusTensorsAreCounted() {
    for (int i = 2; i < 7; i++) {
      tensors.put("model.layers." + i + ".input_layernorm.weight", Ops.of(new float[24], 24));
    }
    assertTrue(refusal().endsWith("'model.layers.4.input_layernorm.weight' and 2 more"));
  }

  @Test
  void frequenciesThatOldCheckpointsCarryAreNoSurplus() {
    tensors.put("model.layers.0.self_attn.rotary_emb.inv_freq", Ops.of(new float[3], 3));
    CausalLm.of(config, tensors, Device.CPU).close();
  }

  @Test
  void aWrongShapeIsNamed() {
    tensors.put("model.norm.weight", Ops.of(new float[23], 23));
    assertEquals(
        "tensor 'model.norm.weight' is F32[23]; the configuration asks for floating point of shape"
            + " [24]",
        refusal());
  }

  @Test
  void aWeightOfIntegersIsNamed() {
    tensors.put("model.norm.weight", Ops.zeros(Device.CPU, DType.I32, 24));
    assertTrue(refusal().contains("'model.norm.weight' is I32[24]"));
  }

  @Test
  void anUnknownQuantizationIsNamed() {
    ModelConfig quantized =
        RandomCheckpoint.config(
            "qwen2", "quantization_config", Map.of("quant_method", "exotic", "bits", 5L));
    String message =
        assertThrows(FileFormatException.class, () -> CausalLm.of(quantized, tensors, Device.CPU))
            .getMessage();
    assertTrue(message.contains("quant_method exotic"), message);
  }

  @Test
  void perplexityWantsOneFullWindow() {
    try (CausalLm model = CausalLm.of(config, tensors, Device.CPU)) {
      assertThrows(
          IllegalArgumentException.class,
          () -> Perplexity.of(model, Ops.of(new int[] {1, 2, 3}, 3), 4));
      assertThrows(
          IllegalArgumentException.class,
          () -> Perplexity.of(model, Ops.of(new int[] {1, 2, 3}, 3), 1));
    }
  }
}
