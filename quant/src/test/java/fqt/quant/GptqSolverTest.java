package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.quant.GptqConfig.ActOrder;
import fqt.quant.crew.Crew;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.Moments;
import fqt.tensor.Blocks;
import fqt.tensor.Cholesky;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GptqSolverTest {
  @Test
  void aSumIsSpentOnItsFactor() {
    Tensor x = new Nets(6).activations(40, 24);
    ChunkSum sum = sum(x);
    Tensor memory = sum.spare();
    Factor factor = Factor.of(sum, 0, GptqConfig.defaults(), "test");
    assertSame(memory, factor.upper());
    assertEquals(40, factor.tokens());
    float[] expected = Host.floats(factor(hessian(x), GptqConfig.defaults()).upper());
    assertArrayEquals(expected, Host.floats(factor.upper()));
  }

  @Test
  void chunksAreAddedInTheirOrder() {
    Tensor x = new Nets(7).activations(90, 33);
    ChunkSum chunks = Moments.none(Crew.alone(Device.CPU), 33);
    for (int i = 0; i < 9; i++) {
      Moments.add(chunks, Ops.copy(x.slice(0, 10L * i, 10L * i + 10)), i / 3);
    }
    float[] found = Host.floats(Factor.hessian(chunks));
    assertEquals(90, chunks.rows());
    float[] expected = Host.floats(hessian(x));
    assertArrayEquals(expected, found, 1e-5f * expected[0]);
  }

  private static ChunkSum sum(Tensor x) {
    ChunkSum sum = Moments.none(Crew.alone(Device.CPU), x.dim(1));
    Moments.add(sum, x, 0);
    return sum;
  }

  private static Tensor hessian(Tensor x) {
    return Factor.hessian(sum(x));
  }

  /** The factor of a Hessian that stays as it is. */
  private static Factor factor(Tensor hessian, GptqConfig config) {
    Tensor spare = Ops.empty(hessian.device(), DType.F32, hessian.shape());
    return Factor.of(Ops.copy(hessian), spare, 10, config, "layers.0.q_proj");
  }

  private static double[][] doubles(Tensor x) {
    double[][] values = new double[(int) x.dim(0)][(int) x.dim(1)];
    for (int i = 0; i < values.length; i++) {
      for (int j = 0; j < values[i].length; j++) {
        values[i][j] = x.get(i, j);
      }
    }
    return values;
  }

  /** The paper's loop, on the problem that the factor describes; codes in the order of inputs. */
  private static int[][] naive(
      Tensor weight, Tensor hessian, Factor factor, int bits, int group, boolean fixed) {
    int k = (int) weight.dim(1);
    int[] order = factor.places();
    double mean = 0;
    for (int i = 0; i < k; i++) {
      mean += hessian.get(i, i) / k;
    }
    double[][] h = new double[k][k];
    double[][] w = new double[(int) weight.dim(0)][k];
    int[] groupOf = new int[k];
    for (int i = 0; i < k; i++) {
      for (int j = 0; j < k; j++) {
        h[i][j] = hessian.get(order[i], order[j]);
      }
      h[i][i] += factor.damping() * mean;
      for (int n = 0; n < w.length; n++) {
        w[n][i] = weight.get(n, order[i]);
      }
      groupOf[i] = (fixed ? order[i] : i) / group;
    }
    double[][] scales = new double[w.length][Math.ceilDiv(k, group)];
    if (fixed) {
      scales = doubles(Quantizer.integer(bits, new Blocks(1, group)).fit(weight).scale());
    }
    int[][] ordered = NaiveGptq.quantize(w, h, bits, groupOf, scales, fixed);
    int[][] codes = new int[w.length][k];
    for (int n = 0; n < w.length; n++) {
      for (int i = 0; i < k; i++) {
        codes[n][order[i]] = ordered[n][i];
      }
    }
    return codes;
  }

  @ParameterizedTest
  @CsvSource({
    "4, -1, 200, NONE",
    "4, 32, 160, NONE",
    "3, 32, 127, NONE",
    "4, 96, 200, NONE",
    "2, 64, 129, NONE",
    "8, 192, 200, NONE",
    "4, 32, 160, STATIC",
    "3, -1, 130, STATIC",
    "4, 32, 160, DYNAMIC",
    "2, 48, 131, DYNAMIC"
  })
  void findsTheCodesOfThePaper(int bits, int groupSize, int inputs, ActOrder order) {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(inputs + bits);
      Tensor weight = nets.gaussian(0.05, 17, inputs);
      Tensor hessian = hessian(nets.activations(2L * inputs, inputs));
      Quantizer quantizer = Quantizer.integer(bits, Blocks.perGroup(groupSize));
      Factor factor = factor(hessian, GptqConfig.defaults().withOrder(order));
      QuantizedWeight ours = GptqSolver.solve(weight, quantizer, factor).weight();
      int group = groupSize == -1 ? inputs : groupSize;
      int[][] expected = naive(weight, hessian, factor, bits, group, order == ActOrder.STATIC);
      int same = 0;
      for (int n = 0; n < 17; n++) {
        int row = n;
        boolean equal =
            IntStream.range(0, inputs)
                .allMatch(k -> ours.codes().getLong(row, k) == expected[row][k]);
        same += equal ? 1 : 0;
      }
      // F32 against F64: a tie that falls the other way changes the rest of its row. A wrong loop
      // changes nearly all rows.
      assertTrue(same >= 12, "only " + same + " of 17 rows are those of the paper");
      assertEquals(order == ActOrder.DYNAMIC, ours.groupIndex() != null);
    }
  }

  @Test
  void factorIsTheRootOfTheInverse() {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(3);
      Tensor hessian = hessian(nets.activations(300, 65));
      float[] diagonal = Host.floats(hessian.diagonal());
      int[] order = Host.descending(diagonal);
      Tensor u = Ops.empty(Device.CPU, DType.F32, 65, 65);
      assertTrue(Cholesky.inverseRootInto(Ops.copy(hessian), diagonal, 0.1, order, u));
      double[][] h = new double[65][65];
      for (int i = 0; i < 65; i++) {
        for (int j = 0; j < 65; j++) {
          h[i][j] = hessian.get(order[i], order[j]) + (i == j ? 0.1 : 0);
        }
      }
      double[][] inverse = NaiveGptq.invert(h);
      double[][] product = doubles(Ops.matmul(u.transpose(0, 1), u));
      for (int i = 0; i < 65; i++) {
        for (int j = 0; j < 65; j++) {
          assertEquals(inverse[i][j], product[i][j], 3e-4 * inverse[i][i]);
          if (j < i) {
            assertEquals(0, u.get(i, j));
          }
        }
      }
    }
  }

  @Test
  void deadInputsGetZeroWeightsAndChangeNothingElse() {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(5);
      Tensor weight = nets.gaussian(0.05, 9, 40);
      float[] mask = new float[40];
      Arrays.fill(mask, 1);
      mask[7] = 0;
      mask[33] = 0;
      Tensor x = Ops.multiply(nets.activations(100, 40), Ops.of(mask, 40));
      Factor factor = factor(hessian(x), GptqConfig.defaults().withOrder(ActOrder.NONE));
      assertArrayEquals(mask, factor.alive());
      assertEquals("2 of 40 inputs were always zero", factor.notes().getFirst());
      Quantizer quantizer = Quantizer.integer(4, Blocks.PER_ROW);
      GptqSolver.Solution solution = GptqSolver.solve(weight, quantizer, factor);
      Tensor result = solution.weight().dequantize();
      for (int n = 0; n < 9; n++) {
        assertEquals(0, result.get(n, 7));
        assertEquals(0, result.get(n, 33));
      }
      assertTrue(Double.isFinite(solution.loss()) && solution.loss() > 0);
    }
  }

  @Test
  void raisesTheDampingOfASingularHessian() {
    try (Scope scope = Scope.open()) {
      Nets nets = new Nets(6);
      Tensor hessian = hessian(nets.activations(20, 64));
      Factor factor = factor(hessian, GptqConfig.defaults().withDamping(0));
      assertNotNull(factor.upper());
      assertTrue(factor.damping() > 0);
      assertTrue(factor.notes().getFirst().contains("damping raised from 0.0 to"));
    }
  }

  @Test
  void givesUpOnWhatIsNoHessian() {
    try (Scope scope = Scope.open()) {
      Tensor matrix = Ops.of(new float[] {1, 5, 5, 1}, 2, 2);
      Factor factor = factor(matrix, GptqConfig.defaults());
      assertNull(factor.upper());
      assertTrue(factor.notes().getLast().contains("rounded to nearest"));
    }
  }

  @Test
  void refusesInputsThatAreNotFinite() {
    try (Scope scope = Scope.open()) {
      Tensor x = Ops.of(new float[] {1, 2, Float.NaN, 4}, 2, 2);
      IllegalArgumentException error =
          assertThrows(
              IllegalArgumentException.class, () -> factor(hessian(x), GptqConfig.defaults()));
      assertEquals(
          "the calibration inputs of layers.0.q_proj have values that are not finite",
          error.getMessage());
    }
  }
}
