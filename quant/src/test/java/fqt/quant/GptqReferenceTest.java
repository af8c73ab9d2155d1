package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Safetensors;
import fqt.tensor.Blocks;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** GPTQ against what a reference implementation made of the same weights and Hessians. */
class GptqReferenceTest {
  private static final Path CASES =
      Path.of(System.getProperty("fqt.fixtures"), "gptq_cases.safetensors");

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
      Tensor weight = file.get(name + ".weight");
      Quantizer quantizer = Quantizer.integer(4, Blocks.perGroup(128));
      GptqConfig config = GptqConfig.defaults().withOrder(order);
      Factor factor = Factor.of(new Hessian(file.get(name + ".hessian"), 1), config, name);
      GptqSolver.Solution solution = GptqSolver.solve(weight, quantizer, factor, order);

      Quantizer.Params params =
          new Quantizer.Params(solution.weight().scale(), solution.weight().zero());
      Tensor expected = quantizer.encode(file.get(name + ".quantized"), params);
      long[] ours = solution.weight().codes().toLongs();
      long[] theirs = expected.toLongs();
      long equal = 0;
      for (int i = 0; i < ours.length; i++) {
        equal += ours[i] == theirs[i] ? 1 : 0;
      }
      double share = (double) equal / ours.length;
      assertTrue(share >= 0.999, share + " of the codes are equal");
      double loss = file.get(name + ".loss").get(0);
      assertEquals(loss, solution.loss(), 1e-3 * loss);
      assertEquals(0, factor.dead().length);
    }
  }
}
