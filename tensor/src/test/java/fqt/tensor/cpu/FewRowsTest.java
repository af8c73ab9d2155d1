package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertClose;
import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.size;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.abort;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.MachineKernels.Tier;
import fqt.tensor.cpu.asm.ExecutableMemory;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products of some rows with strips that are packed for one use. */
class FewRowsTest {
  private static KernelChoice kernels(Tier tier) {
    try {
      return KernelChoice.machineCode(tier);
    } catch (ExecutableMemory.Refused refused) {
      return abort(refused.getMessage());
    }
  }

  /** The last has passes of 528 terms but for two terms of the last. */
  private static final int[] DEPTHS = {8, 9, 15, 16, 17, 65, 448, 528, 529, 896, 1025, 1057, 19010};

  /** Each number of rows, alone and beside others; everything ends where memory ends. */
  @ParameterizedTest
  @EnumSource(Tier.class)
  void equalsProductsOfPackedOperands(Tier tier) {
    KernelChoice kernels = kernels(tier);
    FewRows fewRows = new FewRows(new Threads(3), kernels.machine());
    Gemm gemm = new Gemm(new Threads(1), kernels.panels());
    Random random = new Random(1);
    for (int m = 1; m <= 96; m = m < 26 ? m + 1 : m + 7) {
      int n = m % 3 == 0 ? 1 + m : size(random);
      int k = DEPTHS[m % DEPTHS.length];
      float alpha = m % 2 == 0 ? 1 : -0.75f;
      float beta = new float[] {0, 1, 0.5f}[m % 3];
      float[] bias =
          m % 4 == 0 ? Matrices.floats(random(random, DType.F32, 1, n).reshape(n)) : null;
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x = pages.copy(random(random, DType.F32, m, k));
        Tensor w = pages.copy(random(random, DType.F32, n, k));
        Tensor out = pages.copy(random(random, DType.F32, m, n));
        Tensor expected = TestMatrices.copy(out);
        Operand left = Operand.left(x);
        Operand right = Operand.left(w);
        gemm.multiply(left, right, Result.of(expected, alpha, beta, bias, false));
        fewRows.multiply(left, right, Result.of(out, alpha, beta, bias, false));
        assertSameBits(expected, out, x + " " + w + ", beta " + beta);
      }
    }
  }

  /** Whichever way a product takes, and whoever asks. */
  @ParameterizedTest
  @EnumSource(Tier.class)
  void equalsItsTwinOnAnyNumberOfThreads(Tier tier) {
    KernelChoice kernels = kernels(tier);
    Random random = new Random(2);
    for (int i = 0; i < 40; i++) {
      int m = 1 + random.nextInt(100);
      int n = size(random);
      int k = i % 5 == 0 ? 1000 + size(random) : size(random);
      Tensor x = TestMatrices.randomLayout(random, i % 3 == 0 ? DType.BF16 : DType.F32, m, k);
      Tensor w = random(random, DType.F32, n, k);
      Tensor bias = i % 2 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
      Tensor twin = empty(DType.F32, m, n);
      ScalarMatrix.linear(x, w, bias, twin);
      Tensor one = empty(DType.F32, m, n);
      new Matrices(new Threads(1), kernels).linear(x, w, bias, one);
      assertClose(twin, one, 1e-6 * Math.max(4, Math.sqrt(k)), x + " " + w);
      Tensor three = empty(DType.F32, m, n);
      new Matrices(new Threads(3), kernels).linear(x, w, bias, three);
      assertSameBits(one, three, x + " " + w);
    }
  }

  /** Rows have the same sums in any company. */
  @ParameterizedTest
  @EnumSource(Tier.class)
  void rowsDoNotDependOnOthers(Tier tier) {
    FewRows fewRows = new FewRows(new Threads(2), kernels(tier).machine());
    Random random = new Random(3);
    Tensor x = random(random, DType.F32, 31, 600);
    Operand w = Operand.left(random(random, DType.F32, 97, 600));
    Tensor all = empty(DType.F32, 31, 97);
    fewRows.multiply(Operand.left(x), w, Result.of(all, 1, 0, null, false));
    for (int m = 1; m < 31; m++) {
      Tensor some = empty(DType.F32, m, 97);
      fewRows.multiply(Operand.left(x.slice(0, 31 - m, 31)), w, Result.of(some, 1, 0, null, false));
      assertEquals(all.get(31 - m, 96), some.get(0, 96));
      assertSameBits(TestMatrices.copy(all.slice(0, 31 - m, 31)), some, m + " rows");
    }
  }
}
