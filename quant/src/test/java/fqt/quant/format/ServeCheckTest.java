package fqt.quant.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.nn.Linear;
import fqt.quant.Scheme;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ServeCheckTest {
  private static final CheckpointFormat GPTQ = new GptqFormat();

  private static List<ServedLinear> dense(long hidden, long keyValues, long width, Scheme scheme) {
    String attention = "model.layers.0.self_attn.";
    String mlp = "model.layers.0.mlp.";
    return new ArrayList<>(
        List.of(
            linear(attention + "q_proj", hidden, hidden, scheme),
            linear(attention + "k_proj", hidden, keyValues, scheme),
            linear(attention + "v_proj", hidden, keyValues, scheme),
            linear(attention + "o_proj", hidden, hidden, scheme),
            linear(mlp + "gate_proj", hidden, width, scheme),
            linear(mlp + "up_proj", hidden, width, scheme),
            linear(mlp + "down_proj", width, hidden, scheme),
            linear("lm_head", hidden, 1280, null)));
  }

  private static ServedLinear linear(String name, long inputs, long outputs, Scheme scheme) {
    return ServedLinear.planned(name, inputs, outputs, GPTQ, scheme);
  }

  private static String only(List<ServedLinear> linears, int ranks) {
    List<ServeCheck.Problem> problems = ServeCheck.problems(linears, ranks);
    assertEquals(1, problems.size(), problems.toString());
    return problems.getFirst().toString();
  }

  @Test
  void findsNothingWrongWithWhatServersLoad() {
    for (long group : new long[] {-1, 32, 64, 128}) {
      List<ServedLinear> linears = dense(896, 128, 4864, Scheme.weightOnly(4, group));
      assertEquals(List.of(), ServeCheck.problems(linears, 1));
    }
    assertEquals(
        List.of(), ServeCheck.problems(dense(3584, 512, 18944, Scheme.weightOnly(8, 128)), 4));
  }

  @ParameterizedTest
  @CsvSource({
    "128, 29568, 8, 'down_proj has 3696 inputs a rank, no multiple of 128; '",
    "128, 18944, 3, 'q_proj has 4096 outputs, which 3 ranks cannot share; '",
    "16, 512, 1, 'has groups of 16, and kernels take 32, 64, 128 or -1; choose'",
    "64, 1344, 1, 'down_proj has 1344 inputs a rank, no multiple of 128; '",
    "128, 1168, 1, 'gate_up_proj has 2336 outputs a rank, no multiple of 64; '"
  })
  void namesTheTensorThatBreaksAShapeRule(long group, long width, int ranks, String expected) {
    List<ServedLinear> linears = dense(4096, 1024, width, Scheme.weightOnly(4, group));
    List<ServeCheck.Problem> problems = ServeCheck.problems(linears, ranks);
    assertTrue(problems.toString().contains(expected), problems.toString());
    problems.forEach(found -> assertEquals(ServeCheck.Severity.SHAPE, found.severity()));
  }

  @Test
  void refusesShardsThatDisagree() {
    List<ServedLinear> linears = dense(896, 128, 4864, Scheme.weightOnly(4, 128));
    linears.set(2, linear(linears.get(2).name(), 896, 128, Scheme.weightOnly(8, 128)));
    assertEquals(
        "model.layers.0.self_attn.q_proj and model.layers.0.self_attn.v_proj are one linear to"
            + " servers, but are stored differently (4 bits, groups of 128 and 8 bits, groups of"
            + " 128); give both the same scheme, or ignore both",
        only(linears, 1));
    assertEquals(
        ServeCheck.Severity.CONFLICT, ServeCheck.problems(linears, 1).getFirst().severity());
    linears = dense(896, 128, 4864, Scheme.weightOnly(4, 128));
    linears.set(5, linear(linears.get(5).name(), 896, 4864, null));
    assertTrue(only(linears, 1).contains("gate_proj and model.layers.0.mlp.up_proj"));
  }

  @Test
  void wantsAllExpertsAndRoutersInFloatingPoint() {
    Scheme scheme = Scheme.weightOnly(4, 64);
    List<ServedLinear> linears = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      String expert = "model.layers.2.mlp.experts." + i + ".";
      linears.add(linear(expert + "gate_proj", 2048, 1408, scheme));
      linears.add(linear(expert + "up_proj", 2048, 1408, scheme));
      linears.add(linear(expert + "down_proj", 1408, 2048, scheme));
    }
    linears.add(linear("model.layers.2.mlp.gate", 2048, 4, null));
    assertEquals(List.of(), ServeCheck.problems(linears, 2));
    linears.set(12, linear("model.layers.2.mlp.gate", 2048, 64, scheme));
    assertTrue(only(linears, 1).startsWith("model.layers.2.mlp.gate is quantized"));
    assertEquals(ServeCheck.Severity.FORM, ServeCheck.problems(linears, 1).getFirst().severity());
    linears.removeLast();
    linears.remove(5);
    assertEquals(
        "model.layers.2.mlp.experts.1.down_proj is missing, and servers stack all experts of a"
            + " layer; write it",
        only(linears, 1));
  }

  @Test
  void readsLinearsBackFromTheirTensors() {
    try (Scope scope = Scope.open()) {
      Map<String, Scheme> schemes = new LinkedHashMap<>();
      schemes.put("gptq", Scheme.weightOnly(8, 32));
      schemes.put("awq", Scheme.weightOnly(4, 64));
      schemes.put("compressed-tensors", Scheme.weightOnly(4, -1));
      schemes.forEach(
          (format, wanted) -> {
            CheckpointFormat chosen = CheckpointFormats.named(format);
            Scheme scheme = chosen.prepare(wanted, DType.BF16);
            Linear linear = new Linear(GptqFormatTest.random(1, 64, 128), null);
            Map<String, Tensor> tensors = chosen.tensors("a.q_proj", scheme.quantize(linear));
            tensors.put("norm.weight", Ops.zeros(Device.CPU, DType.F32, 8));
            tensors.put("lm_head.weight", Ops.zeros(Device.CPU, DType.F32, 10, 64));
            CheckpointContents contents =
                new CheckpointContents(
                    scheme,
                    new LinkedHashMap<>(Map.of("a.q_proj", scheme)),
                    List.of("lm_head"),
                    false,
                    Map.of());
            List<ServedLinear> found =
                ServedLinear.stored(new GptqFormatTest.Tensors(tensors), chosen.config(contents));
            assertEquals(2, found.size());
            ServedLinear planned = ServedLinear.planned("a.q_proj", 128, 64, chosen, scheme);
            assertEquals(planned.inputs(), found.getFirst().inputs());
            assertEquals(planned.outputs(), found.getFirst().outputs());
            assertEquals(planned.storage().bits(), found.getFirst().storage().bits());
            assertEquals(planned.storage().groupSize(), found.getFirst().storage().groupSize());
            assertEquals(planned.storage().layout(), found.getFirst().storage().layout());
            assertEquals(new ServedLinear("lm_head", 64, 10, null), found.getLast());
          });
    }
  }
}
