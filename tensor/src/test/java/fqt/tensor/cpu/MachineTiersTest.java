package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertClose;
import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.bytes;
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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Every tier of machine code that this processor has, not only the one it takes by itself. */
class MachineTiersTest {
  private static KernelChoice kernels(Tier tier) {
    try {
      return KernelChoice.machineCode(tier);
    } catch (ExecutableMemory.Refused refused) {
      return abort(refused.getMessage());
    }
  }

  /** By turns few, which stream the weight, and many. */
  private static int rows(Random random, int turn) {
    int few = 1 + random.nextInt(Streaming.MOST_ROWS);
    return turn % 2 == 0 ? few : Streaming.MOST_ROWS + size(random);
  }

  @ParameterizedTest
  @EnumSource(Tier.class)
  void bytesAreExact(Tier tier) {
    KernelChoice kernels = kernels(tier);
    Random random = new Random(1);
    for (int i = 0; i < 24; i++) {
      int m = rows(random, i);
      int n = size(random);
      int k = i % 4 == 0 ? 2100 + size(random) : size(random);
      Tensor x = bytes(random, m, k);
      Tensor w = bytes(random, n, k);
      Tensor xScale = random(random, DType.F32, 1, m).reshape(m);
      Tensor wScale = random(random, DType.F32, 1, n).reshape(n);
      Tensor out = empty(DType.F32, m, n);
      new ByteProducts(new Threads(2), kernels).linear(x, xScale, w, wScale, null, out);
      Tensor twin = empty(DType.F32, m, n);
      ScalarMatrix.scaledLinear(x, xScale, w, wScale, null, twin);
      assertSameBits(twin, out, x + " " + w);
      assertSurroundingsIntact(out);
    }
  }

  @ParameterizedTest
  @EnumSource(Tier.class)
  void bf16ProductsEqualTheirTwin(Tier tier) {
    Matrices matrices = new Matrices(new Threads(2), kernels(tier));
    Random random = new Random(2);
    for (int i = 0; i < 24; i++) {
      int m = rows(random, i);
      int n = size(random);
      int k = i % 4 == 0 ? 1100 + size(random) : size(random);
      Tensor x = random(random, i % 3 == 1 ? DType.F32 : DType.BF16, m, k);
      Tensor w = random(random, DType.BF16, n, k);
      Tensor bias = i % 3 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
      Tensor out = empty(DType.F32, m, n);
      matrices.linear(x, w, bias, out);
      Tensor twin = empty(DType.F32, m, n);
      ScalarMatrix.linear(x, w, bias, twin);
      assertClose(twin, out, 1e-6 * Math.max(4, Math.sqrt(k)), x + " " + w);
      assertSurroundingsIntact(out);
    }
  }

  @ParameterizedTest
  @EnumSource(Tier.class)
  void f32ProductsEqualTheirTwin(Tier tier) {
    Matrices matrices = new Matrices(new Threads(2), kernels(tier));
    Random random = new Random(3);
    for (int i = 0; i < 12; i++) {
      int m = 1 + size(random);
      Tensor a = random(random, DType.F32, m, 300);
      Tensor b = random(random, DType.F32, 300, 130);
      Tensor out = random(random, DType.F32, m, 130);
      Tensor twin = TestMatrices.copy(out);
      matrices.gemm(0.5f, a, b, 1, out);
      ScalarMatrix.gemm(0.5f, a, b, 1, twin);
      assertClose(twin, out, 2e-5, a + " " + b);
      assertSurroundingsIntact(out);
    }
  }

  /** Several blocks of rows and columns, and sums around the ends of blocks of terms. */
  @ParameterizedTest
  @EnumSource(Tier.class)
  void blocksMeetWithoutGaps(Tier tier) {
    KernelChoice kernels = kernels(tier);
    Random random = new Random(7);
    int[][] shapes = {
      {4100, 2051, 9}, {37, 2100, 40}, {101, 50, 1025}, {29, 77, 1057}, {19, 35, 1089}
    };
    for (int[] shape : shapes) {
      Tensor x = random(random, DType.F32, shape[0], shape[2]);
      Tensor w = random(random, DType.F32, shape[1], shape[2]);
      Tensor out = empty(DType.F32, shape[0], shape[1]);
      new Matrices(new Threads(1), kernels).linear(x, w, null, out);
      Tensor twin = empty(DType.F32, shape[0], shape[1]);
      ScalarMatrix.linear(x, w, null, twin);
      assertClose(twin, out, 1e-6 * Math.max(4, Math.sqrt(shape[2])), x + " " + w);
      Tensor shared = empty(DType.F32, shape[0], shape[1]);
      new Matrices(new Threads(3), kernels).linear(x, w, null, shared);
      assertSameBits(out, shared, "three threads, " + x + " " + w);
    }
  }

  /** Packing reads whole blocks, and nothing behind the end of an operand. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16", "I8"})
  void packingStaysInside(DType type) {
    KernelChoice kernels = KernelChoice.best();
    Random random = new Random(6);
    for (int k : new int[] {1, 7, 8, 9, 31, 33, 64, 100, 257}) {
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x =
            pages.copy(type == DType.I8 ? bytes(random, 37, k) : random(random, type, 37, k));
        Tensor w =
            pages.copy(type == DType.I8 ? bytes(random, 96, k) : random(random, type, 96, k));
        Tensor out = pages.copy(empty(DType.F32, 37, 96));
        Tensor twin = empty(DType.F32, 37, 96);
        if (type == DType.I8) {
          Tensor xScale = random(random, DType.F32, 1, 37).reshape(37);
          Tensor wScale = random(random, DType.F32, 1, 96).reshape(96);
          new ByteProducts(new Threads(1), kernels).linear(x, xScale, w, wScale, null, out);
          ScalarMatrix.scaledLinear(x, xScale, w, wScale, null, twin);
        } else {
          new Matrices(new Threads(1), kernels).linear(x, w, null, out);
          ScalarMatrix.linear(x, w, null, twin);
        }
        assertClose(twin, out, 1e-6 * Math.max(4, Math.sqrt(k)), x + " " + w);
      }
    }
  }

  /** Two numbers a term; what fills up is zero, also whole terms behind the last. */
  @Test
  void bf16TermsHoldTheirNumbers() {
    Random random = new Random(4);
    for (int columns : TestMatrices.SIZES) {
      Tensor x = random(random, DType.BF16, 3, columns + 2).slice(1, 1, columns + 1);
      Bf16Terms terms = Bf16Terms.of(Operand.left(x), 16);
      int count = (int) terms.inner();
      assertEquals(0, count % 16);
      float[] run = new float[count];
      float[] one = new float[1];
      for (int row = 0; row < 3; row++) {
        terms.readInner(row, 0, count, run, 0);
        for (int i = 0; i < count; i++) {
          int low = bits(x, row, 2L * i);
          int expected = low | bits(x, row, 2L * i + 1) << 16;
          assertEquals(expected, Float.floatToRawIntBits(run[i]), columns + " columns, term " + i);
          terms.readOuter(row, i, 1, one, 0);
          assertEquals(expected, Float.floatToRawIntBits(one[0]), "alone");
        }
      }
    }
  }

  private static int bits(Tensor x, long row, long column) {
    return column < x.dim(1) ? Float.floatToRawIntBits((float) x.get(row, column)) >>> 16 : 0;
  }

  /** Terms that fill up to whole tiles add nothing. */
  @Test
  void termsBehindTheLastAreZeros() {
    Random random = new Random(5);
    for (int columns : TestMatrices.SIZES) {
      Tensor x = bytes(random, 2, columns);
      ByteTerms terms = new ByteTerms(ByteTerms.Form.QUADS, x, 2, 16);
      ByteTerms plain = new ByteTerms(ByteTerms.Form.QUADS, x, 2);
      float[] run = new float[(int) terms.inner()];
      float[] expected = new float[run.length];
      assertEquals(0, run.length % 16);
      terms.readInner(1, 0, run.length, run, 0);
      plain.readInner(1, 0, (int) plain.inner(), expected, 0);
      for (int i = 0; i < run.length; i++) {
        assertEquals(Float.floatToRawIntBits(expected[i]), Float.floatToRawIntBits(run[i]));
      }
      // A pass that begins behind the last number.
      float[] behind = {1};
      terms.readInner(1, run.length - 1, 1, behind, 0);
      assertEquals(
          Float.floatToRawIntBits(expected[run.length - 1]), Float.floatToRawIntBits(behind[0]));
    }
  }
}
