package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Safetensors;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * GPTQ against what a reference implementation made of the same weights and Hessians, on the CPU
 * or, with {@code -Dfqt.device=cuda:0}, on a GPU.
 */
class GptqReferenceTest {
  private static final Path CASES =
      Path.of(System.getProperty("fqt.fixtures"), "gptq_cases.safetensors");

  private static final Device DEVICE = Device.parse(System.getProperty("fqt.device", "cpu"));

  @ParameterizedTest
  @CsvSource({
    "int4_g128.self_attn.q_proj, NONE",
    "int4_g128.mlp.down_proj, NONE",
    "int4_g128_actorder_static.self_attn.q_proj, STATIC",
    "int4_g128_actorder_static.mlp.down_proj, STATIC"
  })
  void agreesWithReference(String name, GptqConfig.ActOrder order) {
    try (Scope scope = Scope.open();
        Safetensors file = Safetensors.open(CASES)) {
      Tensor weight = Ops.to(file.get(name + ".weight"), DEVICE);
      Quantizer quantizer = Quantizer.integer(4, Blocks.perGroup(128));
      GptqConfig config = GptqConfig.defaults().withOrder(order);
      Tensor hessian = Ops.copy(Ops.to(file.get(name + ".hessian"), DEVICE));
      Tensor spare = Ops.empty(DEVICE, DType.F32, hessian.shape());
      Factor factor = Factor.of(hessian, spare, 1, config, name);
      GptqSolver.Solution solution = GptqSolver.solve(weight, quantizer, factor);

      Quantizer.Params params =
          new Quantizer.Params(solution.weight().scale(), solution.weight().zero());
      Tensor expected = quantizer.encode(Ops.to(file.get(name + ".quantized"), DEVICE), params);
      long[] ours = Ops.to(solution.weight().codes(), Device.CPU).toLongs();
      long[] theirs = Ops.to(expected, Device.CPU).toLongs();
      long equal = 0;
      for (int i = 0; i < ours.length; i++) {
        equal += ours[i] == theirs[i] ? 1 : 0;
      }
      double share = (double) equal / ours.length;
      assertTrue(share >= 0.999, share + " of the codes are equal");
      double loss = file.get(name + ".loss").get(0);
      assertEquals(loss, solution.loss(), 1e-3 * loss);
      assertEquals(hessian.dim(0), Host.sum(Ops.of(factor.alive(), factor.alive().length)));
    }
  }
}
