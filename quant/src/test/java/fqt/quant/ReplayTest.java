package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;

import fqt.nn.DecoderLayer;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.quant.flow.Stages;
import fqt.quant.flow.Target;
import fqt.quant.report.QuantListener;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Backends;
import fqt.tensor.BinaryOp;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ReplayTest {
  private static final int SAMPLES = 4;
  private static final int TOKENS = 24;

  @TempDir Path folder;

  /** Two linears, to whose result the input is added in place. */
  private static final class AddsInPlace extends Module {
    private final Child first;
    private final Child second;

    AddsInPlace(Nets nets) {
      first = child("first", nets.linear(Nets.FEATURES, 48, true));
      second = child("second", nets.linear(48, Nets.FEATURES, true));
    }

    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      Tensor output = second.apply(first.apply(input, args), args);
      Ops.binaryInto(BinaryOp.ADD, output, input, output);
      return output;
    }
  }

  private static Module layer(String kind) {
    Nets nets = new Nets(3);
    return switch (kind) {
      case "dense" -> nets.denseLayer();
      case "sparse" -> nets.sparseLayer(5);
      case "in place" -> {
        DecoderLayer dense = (DecoderLayer) nets.denseLayer();
        dense.place("mlp").set(new AddsInPlace(nets));
        yield dense;
      }
      default -> throw new IllegalArgumentException(kind);
    };
  }

  /** Everything that comes out of quantizing a layer: weights and the states behind it. */
  private static List<float[]> quantize(
      Module layer, CalibrationInputs inputs, LayerForwardManager forward) {
    GptqConfig config = GptqConfig.defaults().withScheme(Scheme.weightOnly(3, 32));
    new Gptq(config, QuantListener.NONE).quantizeLayer("m", layer, forward);
    forward.advance(layer);
    List<float[]> all = new ArrayList<>();
    layer.visit(
        (path, module) -> {
          if (module instanceof QuantLinear linear) {
            all.add(linear.dequantize().toFloats());
          }
        });
    for (int i = 0; i < inputs.size(); i++) {
      all.add(inputs.hidden(i).toFloats());
    }
    return all;
  }

  private static void assertSameBits(List<float[]> expected, List<float[]> found) {
    assertEquals(expected.size(), found.size());
    for (int i = 0; i < expected.size(); i++) {
      assertArrayEquals(expected.get(i), found.get(i));
    }
  }

  @ParameterizedTest
  @CsvSource({"dense, F32", "dense, DISK", "sparse, F32", "in place, F32"})
  void givesTheBitsOfFullPasses(String kind, CalibrationInputs.Keeping keeping) {
    long before = Backends.of(Device.CPU).liveBytes();
    try (Scope scope = Scope.open();
        CalibrationInputs full = new Nets(1).inputs(SAMPLES, TOKENS);
        CalibrationInputs replayed = new CalibrationInputs(Device.CPU, keeping, folder)) {
      for (int i = 0; i < SAMPLES; i++) {
        replayed.add(full.hidden(i), full.args(i));
      }
      Supplier<List<float[]>> naive = () -> quantize(layer(kind), full, limited(full, 0));
      assertSameBits(
          naive.get(), quantize(layer(kind), replayed, new LayerForwardManager(replayed)));
    }
    assertEquals(before, Backends.of(Device.CPU).liveBytes());
  }

  private static LayerForwardManager limited(CalibrationInputs inputs, long bytes) {
    return new LayerForwardManager(inputs, Crew.alone(Device.CPU), inputs.size(), bytes);
  }

  /** How often each part of a dense layer runs while it is quantized and advanced. */
  private static List<Long> runs(long limit) {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(SAMPLES, TOKENS)) {
      Module layer = layer("dense");
      List<String> parts = List.of("input_layernorm", "self_attn", "mlp");
      long[] counts = new long[parts.size()];
      for (int i = 0; i < counts.length; i++) {
        int part = i;
        layer.find(parts.get(i)).before((module, input, args) -> counts[part]++);
      }
      List<Module> before = parts.stream().map(layer::find).toList();
      quantize(layer, inputs, limited(inputs, limit));
      for (int i = 0; i < parts.size(); i++) {
        assertSame(before.get(i), layer.find(parts.get(i)));
      }
      return List.of(counts[0], counts[1], counts[2]);
    }
  }

  @Test
  void finishedPartsDoNotRunAgain() {
    // One sample runs alone to find the stages; then there are four passes and the advance.
    long one = SAMPLES;
    assertEquals(List.of(1 + 5 * one, 1 + 5 * one, 1 + 3 * one), runs(0));
    assertEquals(List.of(1 + 5 * one, 1 + 2 * one, 1 + 2 * one), runs(Long.MAX_VALUE));
  }

  @Test
  void keepsWhatThereIsRoomFor() {
    // Attention's part takes FEATURES a token; there is no room for the wider one of the mlp too.
    long one = SAMPLES;
    long bytes = (long) SAMPLES * TOKENS * Nets.FEATURES * Float.BYTES;
    assertEquals(List.of(1 + 5 * one, 1 + 2 * one, 1 + 3 * one), runs(bytes));
    assertEquals(List.of(1 + 5 * one, 1 + 5 * one, 1 + 3 * one), runs(bytes - 1));
  }

  @Test
  void findsPartsThatEndInALinear() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(1, TOKENS)) {
      Module dense = layer("dense");
      List<Stages.Stage> stages = stages(dense, inputs);
      assertEquals(4, stages.size());
      assertNull(stages.get(0).part());
      assertSame(dense.place("self_attn"), stages.get(1).part().place());
      assertSame(dense.place("self_attn.o_proj"), stages.get(1).part().linear());
      assertNull(stages.get(2).part());
      assertSame(dense.place("mlp"), stages.get(3).part().place());

      List<Stages.Stage> adding = stages(layer("in place"), inputs);
      assertNotNull(adding.get(1).part());
      assertEquals("m.mlp.second", adding.get(3).targets().getFirst().name());
      assertNull(adding.get(3).part(), "what is added in place would be lost");
    }
  }

  @Test
  void waitsForLinearsBeforeIt() {
    // The second layer's linears belong to the stages of the first, so none of them is final
    // before the first layer's last stage.
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(1, TOKENS)) {
      Nets nets = new Nets(3);
      Module both =
          new Module() {
            private final Child first = child("0", nets.denseLayer());
            private final Child second = child("1", nets.denseLayer());

            @Override
            protected Tensor forward(Tensor input, LayerArgs args) {
              return second.apply(first.apply(input, args), args);
            }
          };
      for (Stages.Stage stage : stages(both, inputs)) {
        assertNull(stage.part());
      }
      LinearRules<Scheme> firstOnly = GptqConfig.defaults().rules().ignoring("m\\.0");
      List<Stages.Stage> second =
          Stages.of(both, Target.of("m", both, firstOnly::includes), once(both, inputs));
      assertSame(both.place("1.self_attn"), second.get(1).part().place());
    }
  }

  private static List<Stages.Stage> stages(Module layer, CalibrationInputs inputs) {
    return Stages.of(
        layer, Target.of("m", layer, GptqConfig.defaults().rules()::includes), once(layer, inputs));
  }

  private static Runnable once(Module layer, CalibrationInputs inputs) {
    return () -> new LayerForwardManager(inputs).observe(layer, IntStream.of(0), sample -> {});
  }
}
