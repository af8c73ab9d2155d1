package fqt.quant.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Json;
import fqt.io.Safetensors;
import fqt.io.SafetensorsWriter;
import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.LinearReader;
import fqt.nn.Module;
import fqt.quant.QuantLinear;
import fqt.quant.ScaledLinear;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FormatsTest {
  private static final String NAME = "model.layers.0.mlp.up_proj";

  @TempDir private Path folder;

  private static LinearReader reader(Map<String, Object> config) {
    List<LinearReader> readers =
        List.of(
            new AwqReader(),
            new CompressedTensorsReader(),
            new GptqReader(),
            new SimulatedReader());
    List<LinearReader> able = readers.stream().filter(reader -> reader.handles(config)).toList();
    assertEquals(1, able.size());
    return able.getFirst();
  }

  private static CheckpointContents contents(Scheme scheme, Map<String, Scheme> quantized) {
    return new CheckpointContents(
        scheme, new LinkedHashMap<>(quantized), List.of("lm_head"), false, Map.of("damp", 0.01));
  }

  @ParameterizedTest
  @CsvSource({
    "gptq, w4a16, 32, true, F16",
    "gptq, w8a16, -1, true, BF16",
    "awq, w4a16, 32, true, BF16",
    "awq, w4a16, 64, false, F16",
    "awq, w4a16, -1, false, F16",
    "compressed-tensors, w4a16, 32, true, BF16",
    "compressed-tensors, w4a16, 32, false, F16",
    "compressed-tensors, w8a16, -1, true, F16",
    "compressed-tensors, w8a16, 64, false, BF16",
    "compressed-tensors, w8a8-int8, 128, true, BF16",
    "compressed-tensors, w8a8-fp8, 128, true, F16",
    "simulated, w4a16, 32, true, F16",
    "simulated, w3a16, 128, false, BF16",
    "simulated, w4a8, 32, true, F16",
    "simulated, w8a8-int8, 32, true, F16",
    "simulated, w8a8-fp8, 32, true, F16"
  })
  void writtenAndReadTheModuleComputesTheSameBits(
      String name, String schemeName, long group, boolean symmetric, DType type) {
    try (Scope scope = Scope.open()) {
      CheckpointFormat format = CheckpointFormats.named(name);
      Scheme wanted = Scheme.parse(schemeName, group);
      wanted = wanted.withWeights(wanted.weights().withSymmetric(symmetric));
      Scheme scheme = format.prepare(wanted, type);
      Linear linear =
          new Linear(GptqFormatTest.random(3, 40, 192), Ops.to(GptqFormatTest.random(4, 40), type));
      Module quantized = scheme.quantize(linear);
      Path file = folder.resolve("model.safetensors");
      SafetensorsWriter.writeFile(file, format.tensors(NAME, quantized), Map.of());
      Path json = folder.resolve("config.json");
      Json.write(json, format.config(contents(scheme, Map.of(NAME, scheme))));
      Map<String, Object> config = Json.readObject(json).values();
      try (Safetensors tensors = Safetensors.open(file)) {
        LinearReader reader = reader(config);
        Module read = reader.read(NAME, 192, 40, tensors, config);
        assertNull(reader.read("lm_head", 192, 40, tensors, config));
        Tensor x = GptqFormatTest.random(9, 13, 192);
        Tensor expected = quantized.apply(x, LayerArgs.NONE);
        Tensor found = read.apply(x, LayerArgs.NONE);
        if (name.equals("simulated")) {
          double largest = 0;
          for (float value : expected.toFloats()) {
            largest = Math.max(largest, Math.abs(value));
          }
          assertArrayEquals(expected.toFloats(), found.toFloats(), (float) (1e-6 * largest));
        } else {
          assertArrayEquals(expected.toFloats(), found.toFloats());
        }
        assertArrayEquals(dequantized(quantized).toFloats(), dequantized(read).toFloats());
      }
    }
  }

  private static Tensor dequantized(Module linear) {
    return switch (linear) {
      case QuantLinear packed -> packed.dequantize();
      case ScaledLinear scaled -> scaled.dequantize();
      default -> linear.parameters().get("weight");
    };
  }

  @Test
  void awqNibblesStandInTheirOwnOrder() {
    try (Scope scope = Scope.open()) {
      CheckpointFormat format = new AwqFormat();
      Scheme wanted = Scheme.weightOnly(4, 32);
      Scheme scheme =
          format.prepare(wanted.withWeights(wanted.weights().withSymmetric(false)), DType.BF16);
      PackedWeight weight =
          ((QuantLinear) scheme.quantize(new Linear(GptqFormatTest.random(1, 24, 64), null)))
              .weight();
      Map<String, Tensor> tensors = format.tensors("x", new QuantLinear(weight, null));
      Tensor codes = QuantOps.unpack(weight.codes(), 4, 64);
      int[] order = {0, 2, 4, 6, 1, 3, 5, 7};
      for (int k = 0; k < 64; k++) {
        for (int n = 0; n < 24; n++) {
          long word = tensors.get("x.qweight").getLong(k, n / 8);
          int nibble = 0;
          while (order[nibble] != n % 8) {
            nibble++;
          }
          assertEquals(codes.getLong(n, k), word >>> 4 * nibble & 15);
          long zeros = tensors.get("x.qzeros").getLong(k / 32, n / 8);
          assertEquals(weight.zeros().getLong(n, k / 32), zeros >>> 4 * nibble & 15);
        }
      }
      assertEquals(DType.F16, tensors.get("x.scales").dtype());
    }
  }

  @Test
  void awqWritesTheZeroPointOfSymmetricCodes() {
    try (Scope scope = Scope.open()) {
      Scheme scheme = new AwqFormat().prepare(Scheme.weightOnly(4, 32), DType.F16);
      Module linear = scheme.quantize(new Linear(GptqFormatTest.random(1, 24, 64), null));
      for (long word : new AwqFormat().tensors("x", linear).get("x.qzeros").toLongs()) {
        assertEquals(0x88888888, word);
      }
    }
  }

  @Test
  void compressedTensorsPackSignedCodesPlusAnOffset() {
    try (Scope scope = Scope.open()) {
      CompressedTensorsFormat format = new CompressedTensorsFormat();
      Scheme wanted = Scheme.weightOnly(4, 32);
      Scheme scheme =
          format.prepare(wanted.withWeights(wanted.weights().withSymmetric(false)), DType.BF16);
      QuantLinear linear =
          (QuantLinear) scheme.quantize(new Linear(GptqFormatTest.random(1, 24, 64), null));
      SequencedMap<String, Tensor> tensors = format.tensors("x", linear);
      Tensor weight = linear.dequantize();
      for (int n = 0; n < 24; n++) {
        for (int k = 0; k < 64; k++) {
          long code = (tensors.get("x.weight_packed").getLong(n, k / 8) >>> 4 * (k % 8) & 15) - 8;
          long zero =
              (tensors.get("x.weight_zero_point").getLong(n / 8, k / 32) >>> 4 * (n % 8) & 15) - 8;
          double scale = tensors.get("x.weight_scale").get(n, k / 32);
          assertEquals((float) (scale * (code - zero)), weight.get(n, k));
        }
      }
      assertArrayEquals(new long[] {24, 64}, tensors.get("x.weight_shape").toLongs());
      assertEquals(DType.I64, tensors.get("x.weight_shape").dtype());
    }
  }

  @Test
  void compressedTensorsSayWhatServersLookFor() {
    CompressedTensorsFormat format = new CompressedTensorsFormat();
    Scheme base = format.prepare(Scheme.weightOnly(4, 128), DType.BF16);
    Scheme other = format.prepare(Scheme.w8a8Int8(), DType.BF16);
    Map<String, Object> config =
        format.config(contents(base, Map.of("a.down_proj", other, "a.up_proj", base)));
    assertEquals("compressed-tensors", config.get("quant_method"));
    assertEquals("mixed-precision", config.get("format"));
    assertEquals("compressed", config.get("quantization_status"));
    assertEquals(List.of("lm_head"), config.get("ignore"));
    Map<?, ?> groups = (Map<?, ?>) config.get("config_groups");
    Map<?, ?> first = (Map<?, ?>) groups.get("group_0");
    Map<?, ?> second = (Map<?, ?>) groups.get("group_1");
    assertEquals(List.of("Linear"), first.get("targets"));
    assertEquals(List.of("a.down_proj"), second.get("targets"));
    Map<?, ?> weights = (Map<?, ?>) first.get("weights");
    assertEquals("group", weights.get("strategy"));
    assertEquals(128L, weights.get("group_size"));
    assertNull(first.get("input_activations"));
    Map<?, ?> inputs = (Map<?, ?>) second.get("input_activations");
    assertEquals("token", inputs.get("strategy"));
    assertEquals(true, inputs.get("dynamic"));
    assertEquals("channel", ((Map<?, ?>) second.get("weights")).get("strategy"));
  }

  @Test
  void awqNeverSkipsWhatItQuantized() {
    Scheme scheme = new AwqFormat().prepare(Scheme.weightOnly(4, 128), DType.F16);
    CheckpointContents contents =
        new CheckpointContents(
            scheme,
            new LinkedHashMap<>(Map.of("model.layers.0.mlp.gate_proj", scheme)),
            List.of("model.layers.0.mlp.gate", "lm_head"),
            false,
            Map.of());
    assertEquals(
        List.of("lm_head"), new AwqFormat().config(contents).get("modules_to_not_convert"));
  }

  @ParameterizedTest
  @CsvSource({
    "awq, w8a16",
    "awq, w4a8",
    "gptq, w8a8-int8",
    "compressed-tensors, w3a16",
    "compressed-tensors, w4a8",
    "compressed-tensors, w6a6"
  })
  void refusesWithTheNearestThatWorks(String format, String scheme) {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> CheckpointFormats.named(format).prepare(Scheme.parse(scheme, 128), DType.F16))
            .getMessage();
    assertTrue(message.contains("use "), message);
  }
}
