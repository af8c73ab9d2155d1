package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Axis;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LinearsTest {
  private static void assertSameOutput(Module real, Module fake, Tensor x) {
    Tensor found = real.apply(x, LayerArgs.NONE);
    Tensor expected = fake.apply(x, LayerArgs.NONE);
    assertEquals(expected.shape(), found.shape());
    double size = Math.sqrt(Host.sum(square(expected)) / expected.count());
    assertArrayEquals(expected.toFloats(), found.toFloats(), (float) (2e-5 * size));
  }

  private static Tensor square(Tensor x) {
    return Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, x.reshape(-1, x.dim(-1)));
  }

  @ParameterizedTest
  @CsvSource({
    "w4a16, 32, 96, 17", "w3a16, 64, 200, 31", "w2a16, 128, 129, 8", "w8a16, -1, 65, 33",
    "w4a16, -1, 33, 5", "w8a8-int8, -1, 96, 40", "w8a8-int8, -1, 1100, 9", "w8a8-fp8, -1, 127, 17"
  })
  void computeWhatTheFakeOnesDo(String name, long group, int inputs, int outputs) {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(inputs);
      Linear linear = nets.linear(inputs, outputs, true);
      Scheme scheme = Scheme.parse(name, group);
      Module real = scheme.quantize(linear);
      assertTrue(!(real instanceof FakeQuantLinear));
      Module fake = FakeQuantLinear.fromModule(linear, scheme);
      for (int tokens : new int[] {1, 7, 65}) {
        assertSameOutput(real, fake, nets.activations(tokens, inputs));
      }
      assertSameOutput(real, fake, nets.activations(6, inputs).reshape(2, 3, inputs));
    }
  }

  @ParameterizedTest
  @CsvSource({"true", "false"})
  void quantizeInputsByTensorToo(boolean integer) {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(3);
      Linear linear = nets.linear(40, 24, false);
      Scheme scheme = integer ? Scheme.w8a8Int8() : Scheme.w8a8Fp8();
      scheme = scheme.withActivations(scheme.activations().withBlocks(Blocks.PER_TENSOR));
      Module real = scheme.quantize(linear);
      assertEquals(integer ? Int8Linear.class : Fp8Linear.class, real.getClass());
      assertSameOutput(real, FakeQuantLinear.fromModule(linear, scheme), nets.activations(9, 40));
    }
  }

  @ParameterizedTest
  @CsvSource({"w4a8, 32", "w4a4, 64", "w6a6, -1", "w5a16, 16"})
  void otherBitsAreRoundedAsTold(String name, long group) {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(4);
      Linear linear = nets.linear(64, 16, true);
      Scheme scheme = Scheme.parse(name, group);
      Tensor x = nets.activations(5, 64);
      Tensor w = scheme.weights().fake(linear.weight());
      Tensor rounded = scheme.activations() == null ? x : scheme.activations().fake(x);
      Tensor expected = Ops.linear(rounded, w, linear.bias());
      Tensor found = scheme.quantize(linear).apply(x, LayerArgs.NONE);
      assertArrayEquals(expected.toFloats(), found.toFloats(), 1e-4f);
    }
  }

  @Test
  void presetsAndReplacement() {
    try (Scope scope = Scope.open()) {
      Module layer = new Nets(5).denseLayer();
      Linear.replaceLinears(
          layer, W8A8FakeLinear::fromModule, (path, linear) -> path.startsWith("mlp"));
      Linear.replaceLinears(
          layer, Fp8Linear::fromModule, (path, linear) -> path.endsWith("o_proj"));
      Linear.replaceLinears(
          layer, W4A16FakeLinear::fromModule, (path, linear) -> path.endsWith("q_proj"));
      assertInstanceOf(Fp8Linear.class, layer.find("self_attn.o_proj"));
      assertInstanceOf(Linear.class, layer.find("self_attn.k_proj"));
      FakeQuantLinear down = (FakeQuantLinear) layer.find("mlp.down_proj");
      assertEquals(8, down.scheme().activations().bits());
      FakeQuantLinear query = (FakeQuantLinear) layer.find("self_attn.q_proj");
      assertEquals(4, query.scheme().weights().bits());
    }
  }

  @Test
  void namesOfSchemes() {
    assertEquals(Scheme.w8a8Int8(), Scheme.parse("w8a8-int8", 128));
    assertEquals(Scheme.w8a8Fp8(), Scheme.parse("w8a8-fp8", 128));
    assertEquals(Scheme.weightOnly(3, 64), Scheme.parse("w3a16", 64));
    assertEquals(DType.U8, Scheme.parse("w4a4", 32).activations().codes());
    for (String wrong : new String[] {"w1a16", "w4a16-int8", "w9a9", "int4", "w4a1"}) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> Scheme.parse(wrong, 128)).getMessage();
      assertTrue(message.startsWith("there is no scheme '" + wrong + "'"), message);
    }
  }
}
