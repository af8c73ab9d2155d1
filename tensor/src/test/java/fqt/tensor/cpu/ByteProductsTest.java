package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.bytes;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.size;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ByteProductsTest {
  private static ByteProducts products(String tier, int threads) {
    KernelChoice kernels = tier.equals("best") ? KernelChoice.best() : KernelChoice.vector("");
    return new ByteProducts(new Threads(threads), kernels);
  }

  @ParameterizedTest
  @ValueSource(strings = {"best", "vector"})
  void equalsTheTwinBitForBit(String tier) {
    ByteProducts products = products(tier, 2);
    Random random = new Random(1);
    for (int i = 0; i < 30; i++) {
      int m = size(random);
      int n = size(random);
      int k = i % 6 == 0 ? 1000 + size(random) : size(random);
      Tensor x = bytes(random, m, k);
      Tensor w = bytes(random, n, k);
      Tensor xScale = random(random, DType.F32, 1, m).reshape(m);
      Tensor wScale = random(random, DType.F32, 1, n).reshape(n);
      Tensor bias = i % 2 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
      Tensor out = empty(DType.F32, m, n);
      products.linear(x, xScale, w, wScale, Matrices.floats(bias), out);
      Tensor twin = empty(DType.F32, m, n);
      ScalarMatrix.scaledLinear(x, xScale, w, wScale, bias, twin);
      assertSameBits(twin, out, x + " " + w);
      assertSurroundingsIntact(out);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"best", "vector"})
  void theLargestSumsAreExact(String tier) {
    int depth = 131071;
    Tensor x = empty(DType.I8, 1, depth);
    x.segment().fill((byte) -128);
    Tensor w = TestMatrices.copy(x);
    Element.setLong(w.storage().segment(), DType.I8, w.offset() + 5, -127);
    Tensor one = empty(DType.F32, 1, 1).reshape(1);
    Element.f32(one.segment(), 0, 1);
    Tensor out = empty(DType.F32, 1, 1);
    products(tier, 1).linear(x, one, w, one, null, out);
    assertEquals((float) (depth * 16384L - 128), out.get(0, 0));
  }

  @Test
  void theNumberOfThreadsChangesNoBit() {
    Random random = new Random(2);
    Tensor x = bytes(random, 200, 700);
    Tensor w = bytes(random, 300, 700);
    Tensor xScale = random(random, DType.F32, 1, 200).reshape(200);
    Tensor wScale = random(random, DType.F32, 1, 300).reshape(300);
    Tensor alone = empty(DType.F32, 200, 300);
    products("best", 1).linear(x, xScale, w, wScale, null, alone);
    Tensor shared = empty(DType.F32, 200, 300);
    products("best", 3).linear(x, xScale, w, wScale, null, shared);
    assertSameBits(alone, shared, "3 threads");
  }

  /**
   * Every form of a term, read in one run and one by one, over rows and numbers that are absent.
   */
  @ParameterizedTest
  @EnumSource(ByteTerms.Form.class)
  void termsHoldTheirNumbers(ByteTerms.Form form) {
    Random random = new Random(3);
    for (int columns : TestMatrices.SIZES) {
      Tensor x = bytes(random, 3, columns + 2).slice(1, 1, columns + 1);
      ByteTerms terms = new ByteTerms(form, x, 5);
      int count = (int) terms.inner();
      assertEquals(Math.ceilDiv(columns, form.numbers), count);
      float[] run = new float[count + 2];
      float[] one = new float[1];
      for (int row = 0; row < 5; row++) {
        terms.readInner(row, 0, count, run, 1);
        for (int i = 0; i < count; i++) {
          int expected = term(form, x, row, i);
          assertEquals(expected, Float.floatToRawIntBits(run[i + 1]), form + " term " + i);
          terms.readOuter(row, i, 1, one, 0);
          assertEquals(expected, Float.floatToRawIntBits(one[0]), form + " alone");
        }
      }
    }
  }

  private static int term(ByteTerms.Form form, Tensor x, int row, int index) {
    int[] numbers = new int[form.numbers];
    for (int i = 0; i < numbers.length; i++) {
      int column = index * numbers.length + i;
      numbers[i] = row < 3 && column < x.dim(1) ? (int) x.getLong(row, column) : 0;
    }
    return switch (form) {
      case FLOATS -> Float.floatToRawIntBits(numbers[0]);
      case PAIRS -> numbers[0] & 0xffff | numbers[1] << 16;
      case QUADS -> quad(numbers, 0);
      case RAISED_QUADS -> quad(numbers, 128);
    };
  }

  private static int quad(int[] numbers, int add) {
    int bits = 0;
    for (int i = 0; i < 4; i++) {
      bits |= (numbers[i] + add & 255) << 8 * i;
    }
    return bits;
  }
}
