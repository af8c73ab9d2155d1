package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.RmsNorm;
import fqt.quant.crew.Crew;
import fqt.quant.report.FoldReport;
import fqt.quant.report.QuantListener;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Axis;
import fqt.tensor.Backends;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SmoothQuantTest {
  private static final SmoothQuantConfig AWQ =
      SmoothQuantConfig.awq().withGroupSize(32).withSearchTokens(100);

  private static final class Folds implements QuantListener {
    private final List<FoldReport> reports = new ArrayList<>();

    @Override
    public void foldFinished(FoldReport report) {
      reports.add(report);
    }
  }

  /** A dense layer whose norms make some channels 30 times as large, and whose readers undo it. */
  private static Module withOutliers(long seed) {
    Module layer = new Nets(seed).denseLayer();
    scale(layer, "input_layernorm", List.of("q_proj", "k_proj", "v_proj"), "self_attn.");
    scale(layer, "post_attention_layernorm", List.of("gate_proj", "up_proj"), "mlp.");
    return layer;
  }

  private static void scale(Module layer, String norm, List<String> readers, String prefix) {
    float[] factors = new float[Nets.FEATURES];
    for (int i = 0; i < factors.length; i++) {
      factors[i] = i % 21 == 3 ? 30 : 1;
    }
    Tensor factor = Ops.of(factors, factors.length);
    RmsNorm producer = (RmsNorm) layer.find(norm);
    producer.setWeight(Ops.multiply(producer.weight(), factor));
    for (String reader : readers) {
      Linear linear = (Linear) layer.find(prefix + reader);
      linear.setWeight(Ops.divide(linear.weight(), factor));
    }
  }

  private static Tensor run(Module layer, CalibrationInputs inputs) {
    Tensor out = null;
    for (int i = 0; i < inputs.size(); i++) {
      Tensor one = layer.apply(inputs.hidden(i), inputs.args(i));
      out = out == null ? one : Ops.concatRows(out, one);
    }
    return out;
  }

  private static double distance(Tensor a, Tensor b) {
    return Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, Ops.subtract(a, b)));
  }

  private static double error(
      Supplier<Module> layers, CalibrationInputs inputs, SmoothQuantConfig config) {
    Module layer = layers.get();
    Tensor exact = run(layer, inputs);
    if (config.grid() == 1) {
      new Rtn(config.rules(), QuantListener.NONE).quantizeLayer("l", layer, Crew.alone(Device.CPU));
    } else {
      new SmoothQuant(config, QuantListener.NONE)
          .quantizeLayer("l", layer, new LayerForwardManager(inputs));
    }
    return distance(exact, run(layer, inputs));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void smoothingChangesNothingInFloatingPoint(boolean sparse) {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(4, 50)) {
      Module layer = sparse ? new Nets(2).sparseLayer(4) : withOutliers(2);
      Tensor before = run(layer, inputs);
      Folds folds = new Folds();
      new SmoothQuant(AWQ.withClip(false), folds)
          .smoothLayer("model.layers.7", layer, new LayerForwardManager(inputs));
      Tensor after = run(layer, inputs);
      double size = Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, before));
      assertTrue(distance(before, after) < 1e-9 * size);
      // Norm to attention, values to output, norm to feed-forward, and up to down of each expert.
      assertEquals(sparse ? 3 + 5 : 4, folds.reports.size());
      boolean smoothed = false;
      for (FoldReport report : folds.reports) {
        assertTrue(report.loss() <= report.lossBefore(), report.toString());
        smoothed |= report.loss() < 0.9 * report.lossBefore();
      }
      assertTrue(smoothed, folds.reports.toString());
      assertEquals("model.layers.7.input_layernorm", folds.reports.getFirst().producer());
      assertEquals(
          "model.layers.7.self_attn.q_proj", folds.reports.getFirst().consumers().getFirst());
      if (sparse) {
        assertTrue(folds.reports.get(2).consumers().contains("model.layers.7.mlp.gate"));
      }
    }
  }

  @Test
  void awqBeatsRoundingWhereChannelsDiffer() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(6, 50)) {
      SmoothQuantConfig config =
          AWQ.withWMethod(Quantizer.integer(3, Blocks.perGroup(32))).withSearchTokens(300);
      double rounded = error(() -> withOutliers(3), inputs, config.withGrid(1));
      double plain = error(() -> withOutliers(3), inputs, config.withClip(false));
      double clipped = error(() -> withOutliers(3), inputs, config);
      assertTrue(plain < 0.7 * rounded, plain + " against " + rounded);
      assertTrue(clipped < plain, clipped + " against " + plain);
    }
  }

  private static SmoothQuantConfig study(String scheme) {
    Scheme parsed = Scheme.parse(scheme, 32);
    SmoothQuantConfig base =
        parsed.activations() == null ? SmoothQuantConfig.awq() : SmoothQuantConfig.smoothQuant();
    // More tokens than there are, so that candidates are judged on all of them.
    return base.withRules(LinearRules.all(parsed)).withSearchTokens(10_000);
  }

  private static Module layer(String kind, long seed) {
    return switch (kind) {
      case "dense" -> new Nets(seed).denseLayer();
      case "shared" -> new Nets(seed).sparseLayer(4);
      default -> new Nets(seed).sparseLayer(4, false);
    };
  }

  /** Cases where the best of each fold makes the layer as a whole worse, by up to five times. */
  @ParameterizedTest
  @CsvSource({
    "dense, w2a16, 2", "shared, w4a16, 0", "routed, w4a16, 12", "shared, w8a8, 5",
    "routed, w6a6, 1", "shared, w6a6, 12", "routed, w4a4, 0", "dense, w3a16, 1"
  })
  void theLossOfTheLayerNeverGetsWorse(String kind, String scheme, long seed) {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(100 + seed).inputs(2, 16)) {
      SmoothQuantConfig config = study(scheme).withGrid(6);
      double rounded = error(() -> layer(kind, seed), inputs, config.withGrid(1));
      double smoothed = error(() -> layer(kind, seed), inputs, config.withClip(false));
      double clipped = error(() -> layer(kind, seed), inputs, config.withClip(true));
      assertTrue(smoothed <= rounded * (1 + 1e-6), smoothed + " against " + rounded);
      assertTrue(clipped <= smoothed * (1 + 1e-6), clipped + " against " + smoothed);
    }
  }

  @Test
  void expertsThatNoTokenChoosesAreSmoothedToo() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(1, 5)) {
      Folds folds = new Folds();
      // Ten choices cannot reach all of sixteen experts.
      new SmoothQuant(AWQ, folds)
          .smoothLayer("l", new Nets(3).sparseLayer(16, false), new LayerForwardManager(inputs));
      assertEquals(3 + 16, folds.reports.size());
      for (FoldReport report : folds.reports) {
        assertTrue(Double.isFinite(report.lossBefore()), report.toString());
      }
    }
  }

  @Test
  void smoothQuantRecoversFromOutliers() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(6, 50)) {
      SmoothQuantConfig config = SmoothQuantConfig.smoothQuant().withSearchTokens(300);
      config =
          config.withAMethod(config.rules().base().activations().withBlocks(Blocks.PER_TENSOR));
      double plain = error(() -> withOutliers(3), inputs, config.withGrid(1));
      double without = error(() -> new Nets(3).denseLayer(), inputs, config.withGrid(1));
      double searched = error(() -> withOutliers(3), inputs, config);
      double fixed = error(() -> withOutliers(3), inputs, config.withAlpha(0.5));
      assertTrue(without < 0.2 * plain, without + " against " + plain);
      assertTrue(searched < 1.2 * without, searched + " against " + without);
      assertTrue(fixed < 0.5 * plain, fixed + " against " + plain);
    }
  }

  @Test
  void aFixedRatioIsTheFormulaOfThePaper() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(3, 40)) {
      Module layer = withOutliers(4);
      float[] norm = ((RmsNorm) layer.find("input_layernorm")).weight().toFloats();
      DataRecorder recorder = new DataRecorder();
      recorder.input("x", layer.find("self_attn.q_proj"));
      new LayerForwardManager(inputs).observe(layer, sample -> {});
      double[] expected = new double[Nets.FEATURES];
      double smallest = Double.POSITIVE_INFINITY;
      double largest = 0;
      for (int c = 0; c < expected.length; c++) {
        double activation = 0;
        for (Tensor x : recorder.recordings().get("x")) {
          for (int t = 0; t < x.dim(0); t++) {
            activation = Math.max(activation, Math.abs(x.get(t, c)));
          }
        }
        double weight = 0;
        for (String reader : List.of("q_proj", "k_proj", "v_proj")) {
          Tensor w = ((Linear) layer.find("self_attn." + reader)).weight();
          for (int n = 0; n < w.dim(0); n++) {
            weight = Math.max(weight, Math.abs(w.get(n, c)));
          }
        }
        expected[c] = Math.pow(activation, 0.7) / Math.pow(weight, 0.3);
        smallest = Math.min(smallest, expected[c]);
        largest = Math.max(largest, expected[c]);
      }
      recorder.close();
      new SmoothQuant(SmoothQuantConfig.smoothQuant().withAlpha(0.7), QuantListener.NONE)
          .smoothLayer("l", layer, new LayerForwardManager(inputs));
      float[] after = ((RmsNorm) layer.find("input_layernorm")).weight().toFloats();
      for (int c = 0; c < after.length; c++) {
        double factor = expected[c] / Math.sqrt(smallest * largest);
        assertEquals(norm[c] / factor, after[c], 1e-5 * Math.abs(after[c]));
      }
    }
  }

  @Test
  void normsKeepTheirTypeAndReadersMultiplyByWhatTheyReallyLost() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(3, 40)) {
      Module layer = withOutliers(4);
      for (String name : List.of("input_layernorm", "post_attention_layernorm")) {
        RmsNorm norm = (RmsNorm) layer.find(name);
        norm.setWeight(Ops.to(norm.weight(), DType.BF16));
      }
      Tensor before = run(layer, inputs);
      new SmoothQuant(AWQ.withClip(false), QuantListener.NONE)
          .smoothLayer("l", layer, new LayerForwardManager(inputs));
      assertEquals(DType.BF16, ((RmsNorm) layer.find("input_layernorm")).weight().dtype());
      double size = Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, before));
      assertTrue(distance(before, run(layer, inputs)) < 1e-9 * size);
    }
  }

  @Test
  void obeysEveryChoiceOfTheConfig() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(2, 30)) {
      Quantizer weights = Quantizer.integer(5, Blocks.PER_ROW);
      Quantizer activations = Quantizer.integer(6, Blocks.PER_ROW);
      SmoothQuantConfig config =
          SmoothQuantConfig.smoothQuant()
              .withWMethod(weights)
              .withAMethod(activations)
              .withGroupSize(32)
              .withGrid(2);
      weights = weights.withBlocks(Blocks.perGroup(32));
      assertEquals(new Scheme(weights, activations), config.rules().base());
      Module layer = withOutliers(4);
      new SmoothQuant(config, QuantListener.NONE)
          .quantizeLayer("l", layer, new LayerForwardManager(inputs));
      FakeQuantLinear fake = (FakeQuantLinear) layer.find("mlp.down_proj");
      assertEquals(weights, fake.scheme().weights());
      assertEquals(activations, fake.scheme().activations());

      for (LinearType type : List.of(LinearType.COMPUTING, LinearType.FAKE)) {
        Module other = withOutliers(4);
        SmoothQuantConfig typed = AWQ.withGrid(2).withLinearType(type);
        assertEquals(type, typed.rules().base().linearType());
        new SmoothQuant(typed, QuantListener.NONE)
            .quantizeLayer("l", other, new LayerForwardManager(inputs));
        boolean packed = other.find("self_attn.q_proj") instanceof QuantLinear;
        assertEquals(type == LinearType.COMPUTING, packed);
      }
    }
  }

  @Test
  void duoScaleAndGridChangeTheCandidates() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(2, 30)) {
      SmoothQuantConfig config =
          AWQ.withWMethod(Quantizer.integer(3, Blocks.perGroup(32))).withClip(false);
      double both = error(() -> withOutliers(4), inputs, config);
      assertNotEquals(both, error(() -> withOutliers(4), inputs, config.withDuoScale(false)));
      assertNotEquals(both, error(() -> withOutliers(4), inputs, config.withGrid(3)));
    }
  }

  @Test
  void composesWithGptq() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(6, 50)) {
      SmoothQuantConfig config = AWQ.withWMethod(Quantizer.integer(3, Blocks.perGroup(32)));
      double awq = error(() -> withOutliers(5), inputs, config);
      Module layer = withOutliers(5);
      Tensor exact = run(layer, inputs);
      new SmoothQuant(config.withClip(false), QuantListener.NONE)
          .smoothLayer("l", layer, new LayerForwardManager(inputs));
      GptqConfig gptq = GptqConfig.defaults().withRules(config.rules());
      new Gptq(gptq, QuantListener.NONE).quantizeLayer("l", layer, new LayerForwardManager(inputs));
      double both = distance(exact, run(layer, inputs));
      assertTrue(both < 0.9 * awq, both + " against " + awq);
    }
  }

  @Test
  void quantizesAllLayersAndKeepsNothingElse() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(3, 20)) {
      long before = Backends.of(Device.CPU).liveBytes();
      try (Scope inner = Scope.open();
          CalibrationInputs copy = Nets.copy(inputs)) {
        List<Module> layers = List.of(withOutliers(6), withOutliers(7));
        Tensor exact =
            layers
                .get(1)
                .apply(layers.get(0).apply(inputs.hidden(0), inputs.args(0)), inputs.args(0));
        SmoothQuant.quantize(layers, copy, AWQ);
        assertTrue(distance(exact, copy.hidden(0)) < 0.05 * distance(exact, inputs.hidden(0)));
        Tensor after =
            layers
                .get(1)
                .apply(layers.get(0).apply(inputs.hidden(0), inputs.args(0)), inputs.args(0));
        assertArrayEquals(after.toFloats(), copy.hidden(0).toFloats(), 1e-5f);
      }
      assertEquals(before, Backends.of(Device.CPU).liveBytes());
    }
  }
}
