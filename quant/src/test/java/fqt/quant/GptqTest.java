package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.SharedInputs;
import fqt.quant.flow.Stages;
import fqt.quant.flow.Target;
import fqt.quant.report.LinearReport;
import fqt.quant.report.QuantListener;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Axis;
import fqt.tensor.Backends;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GptqTest {
  private static final class Reports implements QuantListener {
    private final Map<String, LinearReport> reports = new HashMap<>();

    @Override
    public void linearFinished(LinearReport report) {
      reports.put(report.name(), report);
    }
  }

  private static List<Module> layers(long seed) {
    Nets nets = new Nets(seed);
    return List.of(nets.denseLayer(), nets.denseLayer());
  }

  private static Tensor run(List<Module> layers, CalibrationInputs inputs) {
    Tensor out = null;
    for (int i = 0; i < inputs.size(); i++) {
      Tensor hidden = inputs.hidden(i);
      for (Module layer : layers) {
        hidden = layer.apply(hidden, inputs.args(i));
      }
      out = out == null ? hidden : Ops.concatRows(out, hidden);
    }
    return out;
  }

  private static double distance(Tensor a, Tensor b) {
    return Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, Ops.subtract(a, b)));
  }

  @ParameterizedTest
  @CsvSource({"4, STATIC, true", "3, NONE, true", "3, DYNAMIC, false", "2, STATIC, false"})
  void bringsOutputsNearerThanRounding(int bits, GptqConfig.ActOrder order, boolean sequential) {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(6, 40)) {
      GptqConfig config =
          GptqConfig.defaults()
              .withScheme(Scheme.weightOnly(bits, 32))
              .withOrder(order)
              .withTrueSequential(sequential);
      Tensor exact = run(layers(2), inputs);
      List<Module> rounded = layers(2);
      Rtn.quantize(rounded, config.rules());
      double roundedError = distance(exact, run(rounded, inputs));
      List<Module> quantized = layers(2);
      Reports reports = new Reports();
      try (CalibrationInputs running = Nets.copy(inputs)) {
        new Gptq(config, reports).quantize(quantized, running);
        Tensor after = run(quantized, inputs);
        for (int i = 0; i < running.size(); i++) {
          Tensor expected = after.slice(0, 40L * i, 40L * (i + 1));
          assertTrue(distance(expected, running.hidden(i)) < 1e-6, "inputs did not advance");
        }
        assertTrue(distance(exact, after) < 0.8 * roundedError);
      }
      assertEquals(14, reports.reports.size());
      LinearReport report = reports.reports.get("layers.1.mlp.down_proj");
      assertEquals("gptq", report.method());
      assertEquals(240, report.tokens());
      assertEquals(0.01, report.damping());
      assertTrue(report.loss() > 0);
      assertInstanceOf(QuantLinear.class, quantized.getLast().find("self_attn.q_proj"));
    }
  }

  @Test
  void lossIsTheMeanSquaredErrorOfTheOutput() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(5, 64)) {
      Module layer = layers(3).getFirst();
      Linear query = (Linear) layer.find("self_attn.q_proj");
      DataRecorder recorder = new DataRecorder();
      recorder.input("query", query);
      new LayerForwardManager(inputs).observe(layer, sample -> {});
      recorder.remove();
      Reports reports = new Reports();
      GptqConfig config =
          GptqConfig.defaults().withScheme(Scheme.weightOnly(4, -1)).withDamping(1e-5);
      new Gptq(config, reports).quantizeLayer("l", layer, new LayerForwardManager(inputs));
      QuantLinear quantized = (QuantLinear) layer.find("self_attn.q_proj");
      double error = 0;
      for (Tensor x : recorder.recordings().get("query")) {
        Tensor exact = Ops.linear(x, query.weight(), null);
        error += distance(exact, Ops.linear(x, quantized.dequantize(), null)) / inputs.tokens();
      }
      double reported = reports.reports.get("l.self_attn.q_proj").loss();
      assertEquals(error, reported, 0.01 * error);
      recorder.close();
    }
  }

  @Test
  void takesLinearsInTheOrderOfTheirRun() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(2, 30)) {
      Module layer = new Nets(4).sparseLayer(5);
      LinearRules<Scheme> rules = GptqConfig.defaults().rules();
      LayerForwardManager forward = new LayerForwardManager(inputs);
      List<Stages.Stage> stages =
          Stages.of(
              layer,
              Target.of("m", layer, rules::includes),
              () -> forward.observe(layer, IntStream.of(0), sample -> {}));
      List<List<String>> names =
          stages.stream()
              .map(stage -> stage.targets().stream().map(Target::name).toList())
              .toList();
      assertEquals(6, names.size());
      assertEquals(
          List.of("m.self_attn.q_proj", "m.self_attn.k_proj", "m.self_attn.v_proj"), names.get(0));
      assertEquals(List.of("m.self_attn.o_proj"), names.get(1));
      assertEquals(10, names.get(2).size());
      assertTrue(names.get(2).contains("m.mlp.experts.4.up_proj"));
      assertEquals(5, names.get(3).size());
      assertEquals(List.of("m.mlp.shared_expert.down_proj"), names.get(5));
    }
  }

  @Test
  void sharesTheHessianOfACommonInput() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(4, 30)) {
      Module layer = new Nets(4).sparseLayer(5);
      List<Target> all = Target.of("", layer, GptqConfig.defaults().rules()::includes);
      Map<String, Target> targets =
          all.stream().collect(Collectors.toMap(Target::name, Function.identity()));
      SharedInputs<ChunkSum> sums =
          Gptq.sums(layer, Stages.Stage.of(all), new LayerForwardManager(inputs));
      ChunkSum query = sums.of(targets.get("self_attn.q_proj"));
      assertSame(query, sums.of(targets.get("self_attn.v_proj")));
      assertEquals(120, query.rows());
      assertNotSame(query, sums.of(targets.get("self_attn.o_proj")));
      long routed = 0;
      for (int e = 0; e < 5; e++) {
        ChunkSum gate = sums.of(targets.get("mlp.experts." + e + ".gate_proj"));
        assertSame(gate, sums.of(targets.get("mlp.experts." + e + ".up_proj")));
        routed += gate.rows();
      }
      assertEquals(240, routed);
      sums.close();
    }
  }

  @Test
  void roundsExpertsThatSawNoToken() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(1, 2)) {
      Module layer = new Nets(4).sparseLayer(8);
      Module twin = new Nets(4).sparseLayer(8);
      Reports reports = new Reports();
      GptqConfig config =
          GptqConfig.defaults().withScheme(Scheme.weightOnly(4, 32)).withAllExperts(false);
      new Gptq(config, reports).quantizeLayer("m", layer, new LayerForwardManager(inputs));
      new Rtn(config.rules(), QuantListener.NONE).quantizeLayer("m", twin, Crew.alone(Device.CPU));
      assertEquals(4 + 3 * 9, reports.reports.size());
      List<LinearReport> missed =
          reports.reports.values().stream().filter(r -> r.method().equals("rtn")).toList();
      assertTrue(missed.size() >= 3 * 4);
      for (LinearReport report : missed) {
        assertEquals(0, report.tokens());
        assertEquals(List.of("no token reached it: rounded to nearest"), report.notes());
        String path = report.name().substring(2);
        assertEquals(
            0,
            distance(
                ((QuantLinear) layer.find(path)).dequantize(),
                ((QuantLinear) twin.find(path)).dequantize()));
      }
      assertInstanceOf(Linear.class, layer.find("mlp.gate"));
      assertInstanceOf(Linear.class, layer.find("mlp.shared_expert_gate"));
    }
  }

  @Test
  void everyExpertLearnsFromEveryToken() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(2, 40)) {
      Module layer = new Nets(4).sparseLayer(8);
      Reports reports = new Reports();
      new Gptq(GptqConfig.defaults().withScheme(Scheme.weightOnly(4, 32)), reports)
          .quantizeLayer("m", layer, new LayerForwardManager(inputs));
      assertEquals(4 + 3 * 9, reports.reports.size());
      for (LinearReport report : reports.reports.values()) {
        assertEquals("gptq", report.method());
        assertEquals(80, report.tokens());
      }
      long[] seen = new long[1];
      for (int e = 0; e < 8; e++) {
        layer.find("mlp.experts." + e).before((module, input, args) -> seen[0] += input.dim(0));
      }
      layer.apply(inputs.hidden(0), inputs.args(0));
      assertEquals(2 * 40, seen[0], "afterwards only routed tokens pass an expert again");
    }
  }

  @Test
  void roundsExpertsThatSawFewTokens() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(2, 40)) {
      Module layer = new Nets(4).sparseLayer(8);
      Reports reports = new Reports();
      GptqConfig config =
          GptqConfig.defaults()
              .withScheme(Scheme.weightOnly(4, 32))
              .withAllExperts(false)
              .withLeastShare(0.25);
      new Gptq(config, reports).quantizeLayer("m", layer, new LayerForwardManager(inputs));
      for (LinearReport report : reports.reports.values()) {
        assertEquals(report.tokens() < 20 ? "rtn" : "gptq", report.method(), report.name());
        if (report.method().equals("rtn")) {
          assertTrue(report.notes().getFirst().contains("rounded to nearest"));
        }
      }
      assertTrue(reports.reports.values().stream().anyMatch(r -> r.method().equals("rtn")));
      assertTrue(reports.reports.values().stream().allMatch(r -> r.tokens() > 0));
    }
  }

  @Test
  void namesTheWeightThatIsNotFinite() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(1, 8)) {
      Module layer = layers(2).getFirst();
      Ops.fill(((Linear) layer.find("self_attn.o_proj")).weight().slice(0, 5, 6), Double.NaN);
      IllegalArgumentException error =
          assertThrows(
              IllegalArgumentException.class,
              () -> Gptq.quantize(List.of(layer), inputs, GptqConfig.defaults()));
      assertEquals(
          "the weight of layers.0.self_attn.o_proj, F32[64, 64], has a value in row 5 that is not"
              + " finite",
          error.getMessage());
    }
  }

  @Test
  void givesTheSameBitsAgainAndKeepsNothing() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(3, 20)) {
      List<Module> first = layers(2);
      List<Module> second = layers(2);
      for (List<Module> layers : List.of(first, second)) {
        try (CalibrationInputs copy = Nets.copy(inputs)) {
          Gptq.quantize(layers, copy, GptqConfig.defaults());
        }
      }
      first
          .getFirst()
          .visit(
              (path, module) -> {
                if (module instanceof QuantLinear linear) {
                  QuantLinear other = (QuantLinear) second.getFirst().find(path);
                  assertEquals(0, distance(linear.dequantize(), other.dequantize()));
                }
              });
      long before = Backends.of(Device.CPU).liveBytes();
      try (Scope inner = Scope.open();
          CalibrationInputs copy = Nets.copy(inputs)) {
        Gptq.quantize(layers(2), copy, GptqConfig.defaults());
      }
      assertEquals(before, Backends.of(Device.CPU).liveBytes());
    }
  }
}
