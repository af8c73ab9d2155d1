package fqt.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Safetensors;
import fqt.nn.LayerArgs;
import fqt.nn.LayerNorm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.RmsNorm;
import fqt.nn.ScaleFold;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Every declared fold of every family: random factors leave the block's output as it was. */
class ScaleFoldTest {
  private static final double TOLERANCE = 1e-4;

  @ParameterizedTest
  @ValueSource(
      strings = {"tiny-qwen2", "tiny-llama", "tiny-qwen3", "tiny-qwen2moe", "tiny-qwen3moe"})
  void foldsOfDecoderLayersLeaveTheOutput(String name) {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU)) {
      Tensor hidden = model.embed(Fixtures.ids(new Random(1), 1000, 40));
      LayerArgs args = model.args(0, 15, 40);
      for (Module layer : model.layers()) {
        hidden = assertFoldsHold(layer, hidden, args);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny-qwen2vl", "tiny-qwen25vl"})
  void foldsOfVisionBlocksLeaveTheOutput(String name) {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(Fixtures.path(name), Device.CPU);
        Safetensors reference =
            Safetensors.open(Fixtures.path(name).resolve("reference.safetensors"))) {
      Pictures pictures =
          Pictures.of(reference.get("pixel_values"), reference.get("image_grid_thw"));
      Tensor hidden = model.vision().embed(pictures);
      for (int i = 0; i < model.vision().blocks().size(); i++) {
        LayerArgs args = model.vision().args(pictures, i);
        hidden = assertFoldsHold(model.vision().blocks().get(i), hidden, args);
      }
    }
  }

  /** Rescales one fold after the other, each on top of those before. */
  private static Tensor assertFoldsHold(Module block, Tensor input, LayerArgs args) {
    Tensor expected = block.apply(input, args);
    List<ScaleFold> folds = block.scaleFolds();
    assertTrue(folds.size() >= 3, "a block has folds at both norms and inside");
    Random random = new Random(2);
    for (int i = 0; i < folds.size(); i++) {
      rescale(folds.get(i), random);
      Fixtures.assertClose("fold " + i, expected, block.apply(input, args), TOLERANCE);
    }
    return expected;
  }

  private static void rescale(ScaleFold fold, Random random) {
    float[] factors = new float[(int) fold.channels()];
    for (int i = 0; i < factors.length; i++) {
      factors[i] = (float) Math.exp(random.nextGaussian());
    }
    divide(fold, factors);
    long columns = fold.channels() * fold.repeat();
    float[] repeated = new float[(int) columns];
    for (int c = 0; c < columns; c++) {
      long group = c / fold.headDim() / fold.repeat();
      repeated[c] = factors[(int) (group * fold.headDim() + c % fold.headDim())];
    }
    for (Module consumer : fold.consumers()) {
      Linear linear = (Linear) consumer;
      assertEquals(columns, linear.inputs());
      Tensor weight = Ops.to(linear.weight(), DType.F32);
      linear.setWeight(Ops.multiply(weight, Ops.of(repeated, columns)));
    }
  }

  private static void divide(ScaleFold fold, float[] factors) {
    switch (fold.producer()) {
      case RmsNorm norm -> norm.setWeight(divided(norm.weight(), factors, 0));
      case LayerNorm norm ->
          norm.set(divided(norm.weight(), factors, 0), divided(norm.bias(), factors, 0));
      case Linear linear -> {
        Tensor weight = Ops.copy(Ops.to(linear.weight(), DType.F32));
        for (int i = 0; i < factors.length; i++) {
          long row = fold.producerOffset() + i;
          Tensor target = weight.slice(0, row, row + 1);
          Ops.copyInto(Ops.affine(target, 1 / factors[i], 0), target);
        }
        linear.setWeight(weight);
        if (linear.bias() != null) {
          linear.setBias(divided(linear.bias(), factors, fold.producerOffset()));
        }
      }
      default -> throw new AssertionError("a fold with producer " + fold.producer());
    }
  }

  private static Tensor divided(Tensor vector, float[] factors, long from) {
    float[] values = vector.toFloats();
    for (int i = 0; i < factors.length; i++) {
      values[(int) from + i] /= factors[i];
    }
    return Ops.of(values, values.length);
  }
}
