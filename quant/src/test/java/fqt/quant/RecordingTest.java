package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Io;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.AttentionMask;
import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RecordingTest {
  private static final int PROMPT = 5;
  private static final int GENERATED = 3;

  @TempDir private Path folder;

  /** Runs a layer as a generation does: the prompt at once, then token by token. */
  private static void generate(Module layer, Tensor hidden, Tensor cos, Tensor sin) {
    for (int from = 0, to = PROMPT; to <= PROMPT + GENERATED; from = to, to++) {
      LayerArgs args =
          new LayerArgs(
              cos.slice(0, from, to),
              sin.slice(0, from, to),
              AttentionMask.causal(to - from),
              null);
      layer.apply(hidden.slice(0, from, to), args);
    }
  }

  @Test
  void joinsPromptAndGeneratedTokens() {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(11);
      Module layer = nets.denseLayer();
      Tensor[] hidden = new Tensor[4];
      Tensor[] cos = new Tensor[4];
      try (DataRecorder recorder = new DataRecorder()) {
        recorder.input(DataRecorder.INPUT, layer);
        recorder.positions(layer);
        for (int i = 0; i < 4; i++) {
          hidden[i] = nets.gaussian(1, PROMPT + GENERATED, Nets.FEATURES);
          cos[i] = nets.gaussian(1, PROMPT + GENERATED, 8);
          generate(layer, hidden[i], cos[i], Ops.affine(cos[i], 2, 0));
          assertEquals(1 + GENERATED, recorder.recordings().get(DataRecorder.POSITIONS).size());
          recorder.save(folder.resolve("000" + i + (i % 2 == 0 ? ".safetensors" : ".pkl")));
          recorder.clear();
        }
      }
      CalibrationDataset dataset = CalibrationDataset.load(folder);
      assertEquals(4, dataset.files().size());
      try (CalibrationInputs inputs = dataset.sample(3, 42, Device.CPU);
          CalibrationInputs again = dataset.sample(3, 42, Device.CPU)) {
        assertEquals(3, inputs.size());
        assertEquals(3 * (PROMPT + GENERATED), inputs.tokens());
        boolean[] drawn = new boolean[4];
        for (int i = 0; i < 3; i++) {
          float[] found = inputs.hidden(i).toFloats();
          assertArrayEquals(found, again.hidden(i).toFloats());
          int source = 0;
          while (hidden[source].get(0, 0) != found[0]) {
            source++;
          }
          assertTrue(!drawn[source], "drawn twice");
          drawn[source] = true;
          assertArrayEquals(hidden[source].toFloats(), found);
          assertArrayEquals(cos[source].toFloats(), inputs.args(i).cos().toFloats());
          assertArrayEquals(
              Ops.affine(cos[source], 2, 0).toFloats(), inputs.args(i).sin().toFloats());
          assertEquals(PROMPT + GENERATED, inputs.args(i).mask().queries());
        }
      }
      IllegalArgumentException error =
          assertThrows(IllegalArgumentException.class, () -> dataset.sample(5, 1, Device.CPU));
      assertEquals("cannot draw 5 samples from 4 recorded generations", error.getMessage());
    }
  }

  @Test
  void recordsLinearsAndOutputsUntilRemoved() {
    try (Scope scope = Scope.open();
        CalibrationInputs inputs = new Nets(1).inputs(2, 9)) {
      Module layer = new Nets(2).denseLayer();
      LayerForwardManager forward = new LayerForwardManager(inputs);
      long before = Backends.of(Device.CPU).liveBytes();
      try (DataRecorder recorder = new DataRecorder()) {
        recorder.linearInputs("layers.0", layer);
        recorder.output("out", layer);
        forward.observe(layer, sample -> {});
        assertEquals(8, recorder.recordings().size());
        Tensor output = recorder.recordings().get("out").get(1);
        assertArrayEquals(
            layer.apply(inputs.hidden(1), inputs.args(1)).toFloats(), output.toFloats());
        List<Tensor> down = recorder.recordings().get("layers.0.mlp.down_proj");
        assertEquals(Nets.WIDTH, down.getFirst().dim(1));
        recorder.remove();
        int recorded = recorder.recordings().get("out").size();
        forward.observe(layer, sample -> {});
        assertEquals(recorded, recorder.recordings().get("out").size());
      }
      try (Scope inner = Scope.open()) {
        forward.observe(layer, sample -> {});
      }
      assertTrue(Backends.of(Device.CPU).liveBytes() - before < 9 * Nets.FEATURES * 4 * 3);
    }
  }

  @ParameterizedTest
  @EnumSource(CalibrationInputs.Keeping.class)
  void keepsActivationsWhereItIsTold(CalibrationInputs.Keeping keeping) {
    try (Scope scope = Scope.open();
        CalibrationInputs exact = new Nets(1).inputs(3, 17);
        CalibrationInputs inputs = new CalibrationInputs(Device.CPU, keeping, folder)) {
      for (int i = 0; i < exact.size(); i++) {
        inputs.add(exact.hidden(i), exact.args(i));
      }
      Module layer = new Nets(2).denseLayer();
      new LayerForwardManager(exact).advance(layer);
      new LayerForwardManager(inputs).advance(layer);
      double tolerance = keeping == CalibrationInputs.Keeping.BF16 ? 0.1 : 0;
      for (int i = 0; i < exact.size(); i++) {
        assertArrayEquals(
            exact.hidden(i).toFloats(), inputs.hidden(i).toFloats(), (float) tolerance);
      }
    }
  }

  /** As Python records a generation: a batch of one, BF16, tables twice as wide and in pairs. */
  @Test
  void readsWhatPythonRecorded() {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(5);
      Tensor first = Ops.to(nets.gaussian(1, 5, Nets.FEATURES), DType.BF16);
      Tensor second = Ops.to(nets.gaussian(1, 1, Nets.FEATURES), DType.BF16);
      Tensor half = nets.gaussian(1, 4, 6);
      Tensor wide = Ops.copy(Ops.concatRows(half, half).transpose(0, 1)).reshape(1, 6, 8);
      Io.dump(
          Map.of(
              DataRecorder.INPUT,
              List.of(first.reshape(1, 5, Nets.FEATURES), second.reshape(1, 1, Nets.FEATURES)),
              DataRecorder.POSITIONS,
              List.of(
                  List.of(wide.slice(1, 0, 5), wide.slice(1, 0, 5)),
                  List.of(wide.slice(1, 5, 6), wide.slice(1, 5, 6)))),
          folder.resolve("generation.pkl"));
      try (CalibrationInputs inputs = CalibrationDataset.load(folder).sample(1, 0, Device.CPU)) {
        assertArrayEquals(
            Ops.concatRows(Ops.to(first, DType.F32), Ops.to(second, DType.F32)).toFloats(),
            inputs.hidden(0).toFloats());
        float[] table = Ops.copy(half.transpose(0, 1)).toFloats();
        assertArrayEquals(table, inputs.args(0).cos().toFloats());
        assertArrayEquals(table, inputs.args(0).sin().toFloats());
      }
    }
  }

  @Test
  void saysWhatIsWrongWithARecording() {
    try (Scope scope = Scope.open()) {
      Tensor x = new Nets(5).gaussian(1, 3, 4);
      String expected = "expected floats \\[tokens, features]";
      refuses(Map.of("input", List.of(x)), "holds no recorded list model_input");
      refuses(Map.of(DataRecorder.INPUT, List.of(Ops.of(new int[3], 3, 1))), expected);
      refuses(Map.of(DataRecorder.INPUT, List.of("x")), expected);
      refuses(Map.of(DataRecorder.INPUT, x), "model_input is no list");
      refuses(
          Map.of(DataRecorder.INPUT, List.of(x), DataRecorder.POSITIONS, List.of(x)),
          "expected \\[2, tokens, dimensions] or a pair");
      refuses(
          Map.of(DataRecorder.INPUT, List.of(x), DataRecorder.POSITIONS, List.of(List.of(x, x))),
          "does not repeat its first half");
      Tensor short2 = new Nets(6).gaussian(1, 4, 2).reshape(2, 2, 2);
      refuses(
          Map.of(DataRecorder.INPUT, List.of(x), DataRecorder.POSITIONS, List.of(short2)),
          "has 2 tokens, the inputs have 3");
    }
  }

  private void refuses(Map<String, Object> recording, String reason) {
    Io.dump(recording, folder.resolve("bad.pkl"));
    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class,
            () -> CalibrationDataset.load(folder).sample(1, 0, Device.CPU));
    assertTrue(error.getMessage().matches(".*bad\\.pkl.*" + reason + ".*"), error.getMessage());
  }

  @Test
  void namesTheFolderThatHoldsNothing() {
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> CalibrationDataset.load(folder));
    assertEquals(folder + " holds no recorded generation", error.getMessage());
  }
}
