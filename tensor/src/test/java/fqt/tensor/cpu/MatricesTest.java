package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertClose;
import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.copy;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.randomLayout;
import static fqt.tensor.cpu.TestMatrices.size;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The products in the tier that this machine chooses; {@link VectorMatricesTest} is the other. */
class MatricesTest {
  private final Matrices matrices = matrices(2);

  /** Which kernel to test. */
  KernelChoice kernels() {
    return KernelChoice.best();
  }

  private Matrices matrices(int threads) {
    return new Matrices(new Threads(threads), kernels());
  }

  /** A sum of K products, each rounded, against one in F64. */
  private static double tolerance(long depth) {
    return 1e-6 * Math.max(4, Math.sqrt((double) depth));
  }

  @Test
  void gemmEqualsItsTwinInEveryLayout() {
    Random random = new Random(1);
    for (int i = 0; i < 150; i++) {
      int m = size(random);
      int n = size(random);
      int k = size(random);
      Tensor a = randomLayout(random, DType.F32, m, k);
      Tensor b = randomLayout(random, DType.F32, k, n);
      float alpha = random.nextInt(3) - 1.5f;
      float beta = random.nextInt(3) / 2f;
      checkGemm(alpha, a, b, beta, random(random, DType.F32, m, n));
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void gemmReadsEveryFloatType(DType type) {
    Random random = new Random(2);
    for (int i = 0; i < 20; i++) {
      int m = size(random);
      int k = size(random);
      Tensor a = randomLayout(random, type, m, k);
      Tensor b = randomLayout(random, type, k, size(random));
      checkGemm(1, a, b, 0, empty(DType.F32, m, b.dim(1)));
    }
  }

  /** Sizes that take more than one block in every direction. */
  @Test
  void gemmOfSeveralBlocks() {
    Random random = new Random(3);
    Tensor a = random(random, DType.F32, 1541, 40);
    Tensor b = random(random, DType.F32, 40, 2055);
    checkGemm(1, a, b, 1, random(random, DType.F32, 1541, 2055));
    a = random(random, DType.F32, 19, 777);
    b = random(random, DType.F32, 777, 530);
    checkGemm(1, a, b, 0.5f, random(random, DType.F32, 19, 530));
  }

  private void checkGemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    Tensor expected = copy(out);
    ScalarMatrix.gemm(alpha, a, b, beta, expected);
    matrices.gemm(alpha, a, b, beta, out);
    String what = "%s %s + %s".formatted(a, b, beta);
    assertClose(expected, out, tolerance(a.dim(1)), what);
    assertSurroundingsIntact(out);
  }

  @Test
  void gemmWritesOnlyItsPartOfAWiderMatrix() {
    Random random = new Random(4);
    Tensor wide = random(random, DType.F32, 37, 50);
    Tensor before = copy(wide);
    Tensor out = wide.slice(0, 3, 36).slice(1, 7, 40);
    Tensor a = random(random, DType.F32, 33, 65);
    Tensor b = random(random, DType.F32, 65, 33);
    matrices.gemm(1, a, b, 1, out);
    ScalarMatrix.gemm(1, a, b, 1, before.slice(0, 3, 36).slice(1, 7, 40));
    assertClose(before, wide, tolerance(65), "wide");
  }

  @Test
  void sumsOfNothingAreZero() {
    Random random = new Random(5);
    for (int m : new int[] {1, 3, 33}) {
      Tensor a = empty(DType.F32, m, 1).slice(1, 0, 0);
      Tensor b = empty(DType.F32, 1, 17).slice(0, 0, 0);
      Tensor out = random(random, DType.F32, m, 17);
      Tensor old = copy(out);
      matrices.gemm(1, a, b, 2, out);
      for (int n = 0; n < 17; n++) {
        assertEquals(2 * old.get(m - 1, n), out.get(m - 1, n));
      }
      matrices.gemm(1, a, b, 0, out);
      assertEquals(0, out.get(m - 1, 16));
      Tensor bias = random(random, DType.F32, 1, 17).reshape(17);
      matrices.linear(a, b.transpose(0, 1), bias, out);
      assertEquals(bias.get(16), out.get(m - 1, 16));
    }
  }

  @Test
  void nothingIsWrittenWhenThereIsNothingToWrite() {
    Tensor a = empty(DType.F32, 3, 4);
    Tensor out = empty(DType.F32, 3, 3);
    matrices.gemm(1, a.slice(0, 0, 0), a.transpose(0, 1), 0, out.slice(0, 0, 0));
    matrices.gemm(1, a, a.transpose(0, 1).slice(1, 0, 0), 0, out.slice(1, 0, 0));
    assertEquals(12345.5, out.get(0, 0));
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void linearEqualsItsTwin(DType type) {
    Random random = new Random(6);
    for (int i = 0; i < 40; i++) {
      int m = i < 20 ? 1 + i % 9 : size(random);
      int n = size(random);
      int k = i == 0 ? 2500 : size(random);
      Tensor x = random(random, i % 3 == 0 ? type : DType.F32, m, k);
      Tensor w = random(random, type, n, k);
      Tensor bias = i % 2 == 0 ? null : random(random, type, 1, n).reshape(n);
      Tensor expected = empty(DType.F32, m, n);
      Tensor out = empty(DType.F32, m, n);
      ScalarMatrix.linear(x, w, bias, expected);
      matrices.linear(x, w, bias, out);
      assertClose(expected, out, tolerance(k), x + " " + w);
      assertSurroundingsIntact(out);
    }
  }

  @Test
  void sumsOfLowerTrianglesAreCompletedAtTheEnd() {
    Random random = new Random(11);
    for (int n : new int[] {1, 7, 17, 64, 65, 130}) {
      Tensor whole = random(random, DType.F32, n, n);
      matrices.syrk(1, random(random, DType.F32, 20, n), 0, whole);
      Tensor lower = copy(whole);
      for (int i = 0; i < 3; i++) {
        Tensor x = random(random, DType.F32, 33, n);
        matrices.syrk(0.5f, x, 1, whole);
        matrices.lowerSyrk(0.5f, x.transpose(0, 1), 1, lower);
      }
      matrices.mirror(lower);
      assertSameBits(whole, lower, n + " columns");
    }
  }

  @Test
  void syrkEqualsItsTwinAndIsSymmetric() {
    Random random = new Random(7);
    for (int i = 0; i < 40; i++) {
      int t = size(random);
      int k = size(random);
      Tensor x = random(random, DType.F32, t, k);
      float beta = i % 3 / 2f;
      Tensor out = symmetric(random, k);
      Tensor expected = copy(out);
      ScalarMatrix.syrk(0.5f, x, beta, expected);
      matrices.syrk(0.5f, x, beta, out);
      assertClose(expected, out, tolerance(t), x + " " + beta);
      assertSameBits(out.transpose(0, 1), out, "symmetry");
      assertSurroundingsIntact(out);
    }
  }

  private static Tensor symmetric(Random random, int size) {
    Tensor x = random(random, DType.F32, size, 3);
    Tensor out = empty(DType.F32, size, size);
    ScalarMatrix.gemm(1, x, x.transpose(0, 1), 0, out);
    return out;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 5, 40})
  void notANumberAndInfinityReachExactlyTheirRows(int m) {
    Random random = new Random(8);
    Tensor x = random(random, DType.F32, m, 300);
    Tensor w = random(random, DType.F32, 37, 300);
    Tensor out = empty(DType.F32, m, 37);
    Element.f32(w.storage().segment(), w.offset() + 11 * 300 + 290, Float.NaN);
    Element.f32(w.storage().segment(), w.offset() + 12 * 300, Float.POSITIVE_INFINITY);
    matrices.linear(x, w, null, out);
    for (int r = 0; r < m; r++) {
      for (int c = 0; c < 37; c++) {
        double value = out.get(r, c);
        assertEquals(c == 11, Double.isNaN(value), "NaN in column " + c);
        assertEquals(c == 12, Double.isInfinite(value), "infinity in column " + c);
      }
    }
  }

  @Test
  void theNumberOfThreadsChangesNoBit() {
    Random random = new Random(9);
    for (int m : new int[] {1, 7, 9, 130, 1000}) {
      Tensor x = random(random, DType.F32, m, 515);
      Tensor w = random(random, DType.F32, 700, 515);
      Tensor alone = empty(DType.F32, m, 700);
      matrices(1).linear(x, w, null, alone);
      for (int threads = 2; threads <= 5; threads++) {
        Tensor out = empty(DType.F32, m, 700);
        matrices(threads).linear(x, w, null, out);
        assertSameBits(alone, out, threads + " threads");
      }
    }
  }
}
