package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertClose;
import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.copy;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TriangularTest {
  private static final KernelChoice KERNELS = KernelChoice.best();

  private final Matrices matrices = new Matrices(new Threads(2), KERNELS);
  private final Gemm gemm = new Gemm(new Threads(1), KernelChoice.best().panels());
  private final Triangular triangular = of(2, KERNELS);

  private static Triangular of(int threads, KernelChoice kernels) {
    Threads pool = new Threads(threads);
    return new Triangular(pool, kernels, new HostMemory(1 << 20), new Matrices(pool, kernels));
  }

  /** {@code x xᵀ + size · I} for random x: well conditioned. */
  private static Tensor positive(Random random, int size) {
    Tensor x = random(random, DType.F32, size, size);
    Tensor a = empty(DType.F32, size, size);
    ScalarMatrix.gemm(1, x, x.transpose(0, 1), 0, a);
    for (int i = 0; i < size; i++) {
      add(a, i, i, size);
    }
    return a;
  }

  private static void add(Tensor a, int row, int column, double value) {
    long at = a.offset() + row * a.stride(0) + column;
    Element.f32(a.storage().segment(), at, (float) (a.get(row, column) + value));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 31, 33, 127, 128, 129, 255, 256, 257, 400, 513, 529, 650})
  void factorEqualsItsTwinAndRebuildsTheMatrix(int size) {
    Tensor a = positive(new Random(size), size);
    Tensor factor = copy(a);
    assertEquals(-1, triangular.cholesky(factor));
    assertSurroundingsIntact(factor);
    Tensor twin = copy(a);
    assertEquals(-1, ScalarMatrix.cholesky(twin));
    assertClose(twin, factor, 1e-5, "factor of " + size);
    Tensor byVectors = copy(a);
    assertEquals(-1, of(1, KernelChoice.vector("")).cholesky(byVectors));
    assertClose(twin, byVectors, 1e-5, "factor by the Vector API of " + size);
    Tensor product = empty(DType.F32, size, size);
    ScalarMatrix.gemm(1, factor, factor.transpose(0, 1), 0, product);
    assertClose(a, product, 1e-5, "product of " + size);
    for (int i = 0; i + 1 < size; i++) {
      assertEquals(0, factor.get(i, size - 1), "above the diagonal");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 31, 33, 127, 128, 129, 255, 256, 257, 400})
  void inverseTimesFactorIsOne(int size) {
    Tensor factor = positive(new Random(size), size);
    assertEquals(-1, ScalarMatrix.cholesky(factor));
    Tensor inverse = empty(DType.F32, size, size);
    triangular.invertLower(factor, inverse);
    assertSurroundingsIntact(inverse);
    Tensor twin = empty(DType.F32, size, size);
    ScalarMatrix.invertLower(factor, twin);
    assertClose(twin, inverse, 1e-5, "inverse of " + size);
    Tensor product = empty(DType.F32, size, size);
    ScalarMatrix.gemm(1, inverse, factor, 0, product);
    for (int i = 0; i < size; i++) {
      for (int j = 0; j < size; j++) {
        assertEquals(i == j ? 1 : 0, product.get(i, j), 1e-5, i + ", " + j);
      }
    }
  }

  /** Zeros that are not multiplied change no bit, whatever part of a pass they take. */
  @ParameterizedTest
  @ValueSource(ints = {1, 17, 100, 513, 1100})
  void triangleTimesMatrixEqualsTheProductWithItsZeros(int size) {
    Random random = new Random(size);
    Tensor lower = random(random, DType.F32, size, size);
    for (int i = 0; i < size; i++) {
      long row = (lower.offset() + i * lower.stride(0)) * Float.BYTES;
      long from = row + (i + 1L) * Float.BYTES;
      lower.storage().segment().asSlice(from, (size - i - 1L) * Float.BYTES).fill((byte) 0);
    }
    Tensor b = random(random, DType.F32, size, 67);
    Tensor expected = empty(DType.F32, size, 67);
    Tensor actual = empty(DType.F32, size, 67);
    gemm.multiply(Operand.left(lower), Operand.right(b), Result.of(expected, -1, 0, null, false));
    matrices.timesTriangle(-1, lower, Gemm.Shape.LOWER, b, actual);
    assertSameBits(expected, actual, "lower triangle of " + size);
    assertSurroundingsIntact(actual);
    Tensor upper = lower.transpose(0, 1);
    gemm.multiply(Operand.left(upper), Operand.right(b), Result.of(expected, 1, 0, null, false));
    matrices.timesTriangle(1, upper, Gemm.Shape.UPPER, b, actual);
    assertSameBits(expected, actual, "upper triangle of " + size);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 100, 127, 128, 129, 256, 299})
  void thePivotThatFailsIsReported(int pivot) {
    Tensor a = positive(new Random(pivot), 300);
    add(a, pivot, pivot, -2000);
    assertEquals(pivot, ScalarMatrix.cholesky(copy(a)));
    assertEquals(pivot, triangular.cholesky(copy(a)));
    add(a, pivot, pivot, Double.NaN);
    assertEquals(pivot, triangular.cholesky(a));
  }

  @Test
  void theNumberOfThreadsChangesNoBit() {
    Tensor a = positive(new Random(5), 620);
    Tensor alone = copy(a);
    of(1, KERNELS).cholesky(alone);
    Tensor shared = copy(a);
    of(3, KERNELS).cholesky(shared);
    assertSameBits(alone, shared, "factor");
  }
}
