package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertClose;
import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.bytes;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.size;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.DotKernel;
import fqt.tensor.cpu.asm.DotKernel.Kind;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Products of a few rows, their operands at the end of memory that may be read. */
class StreamingTest {
  private static final KernelChoice KERNELS = KernelChoice.best();
  private static final Streaming STREAMING =
      KERNELS.machine() == null ? null : new Streaming(new Threads(1), KERNELS.machine().dots());

  @BeforeEach
  void machineCode() {
    assumeTrue(KERNELS.machine() != null, KERNELS.description());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16", "F16"})
  void equalsItsTwin(DType type) {
    Matrices matrices = new Matrices(new Threads(2), KERNELS);
    Random random = new Random(1);
    for (int i = 0; i < 48; i++) {
      int m = 1 + i % 16;
      int n = size(random);
      int k = i % 5 == 0 ? 1000 + size(random) : size(random);
      Tensor x = random(random, i % 3 == 0 ? DType.BF16 : DType.F32, m, k);
      try (GuardedPages pages = new GuardedPages()) {
        Tensor w = pages.copy(random(random, type, n, k));
        Tensor bias = i % 2 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
        Tensor out = pages.copy(random(random, DType.F32, m, n));
        matrices.linear(x, w, bias, out);
        Tensor twin = empty(DType.F32, m, n);
        ScalarMatrix.linear(x, w, bias, twin);
        boolean hasStep = k >= DotKernel.step(kind(type), KERNELS.machine().dots().bits());
        assertEquals(hasStep, STREAMING.serves(Operand.left(x), Operand.left(w)));
        assertClose(twin, out, 1e-6 * Math.max(4, Math.sqrt(k)), x + " " + w);
      }
    }
  }

  private static Kind kind(DType type) {
    return type == DType.F32 ? Kind.F32 : type == DType.F16 ? Kind.F16 : Kind.BF16;
  }

  /** The last step of a row has terms that the step before had; they are not multiplied twice. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16", "F16"})
  void infinityCountsOnce(DType type) {
    Matrices matrices = new Matrices(new Threads(1), KERNELS);
    Random random = new Random(7);
    int step = DotKernel.step(kind(type), KERNELS.machine().dots().bits());
    for (int rest = 1; rest < step; rest++) {
      int k = 2 * step + rest;
      Tensor x = random(random, DType.F32, 3, k);
      Tensor w = random(random, type, 9, k);
      for (int n = 0; n < 9; n++) {
        int at = n % 2 == 0 ? k - rest - 1 : k - step;
        Element.setFloat(
            w.storage().segment(),
            type,
            w.offset() + n * w.stride(0) + at,
            Float.POSITIVE_INFINITY);
      }
      for (int m = 1; m <= 3; m++) {
        Tensor out = empty(DType.F32, m, 9);
        matrices.linear(x.slice(0, 0, m), w, null, out);
        Tensor twin = empty(DType.F32, m, 9);
        ScalarMatrix.linear(x.slice(0, 0, m), w, null, twin);
        assertSameBits(twin, out, type + " " + k);
      }
    }
  }

  @Test
  void alphaAndBetaAreApplied() {
    Matrices matrices = new Matrices(new Threads(2), KERNELS);
    Random random = new Random(2);
    for (float beta : new float[] {0, 1, -0.5f}) {
      Tensor x = random(random, DType.F32, 3, 129);
      Tensor w = random(random, DType.F32, 77, 129);
      Tensor out = random(random, DType.F32, 3, 77);
      Tensor twin = TestMatrices.copy(out);
      matrices.gemm(2.5f, x, w.transpose(0, 1), beta, out);
      ScalarMatrix.gemm(2.5f, x, w.transpose(0, 1), beta, twin);
      assertClose(twin, out, 2e-5, "beta " + beta);
      assertSurroundingsIntact(out);
    }
  }

  @Test
  void bytesAreExact() {
    ByteProducts products = new ByteProducts(new Threads(2), KERNELS);
    Random random = new Random(3);
    for (int i = 0; i < 48; i++) {
      int m = 1 + i % 16;
      int n = size(random);
      int k = i % 5 == 0 ? 1000 + size(random) : size(random);
      Tensor xScale = random(random, DType.F32, 1, m).reshape(m);
      Tensor wScale = random(random, DType.F32, 1, n).reshape(n);
      Tensor bias = i % 2 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x = pages.copy(bytes(random, m, k));
        Tensor w = pages.copy(bytes(random, n, k));
        Tensor out = pages.copy(empty(DType.F32, m, n));
        products.linear(x, xScale, w, wScale, Matrices.floats(bias), out);
        Tensor twin = empty(DType.F32, m, n);
        ScalarMatrix.scaledLinear(x, xScale, w, wScale, bias, twin);
        assertSameBits(twin, out, x + " " + w);
      }
    }
  }

  private static final DType[] INPUTS = {DType.F32, DType.BF16, DType.F16};

  @ParameterizedTest
  @CsvSource({
    "4, 32", "4, 64", "4, 96", "4, 128", "4, 256", "4, 384", "8, 32", "8, 64", "8, 128", "8, 256"
  })
  void codesEqualTheirTwin(int bits, int group) {
    Random random = new Random(group + bits);
    for (int i = 0; i < 24; i++) {
      int m = i % 3 == 0 ? 1 : 1 + i % 16;
      codesEqualTheirTwin(random, bits, m, group * (1 + random.nextInt(7)), group, i);
    }
  }

  @ParameterizedTest
  @CsvSource({"4, 32", "4, 64", "4, 128", "4, 256", "8, 32", "8, 128"})
  void theLastGroupMayBeShorter(int bits, int group) {
    Random random = new Random(group - bits);
    for (int i = 0; i < 24; i++) {
      int k = group * (1 + random.nextInt(7)) + 1 + random.nextInt(group - 1);
      codesEqualTheirTwin(random, bits, 1 + i % 4, k, group, i);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {4, 8})
  void oneScaleARow(int bits) {
    Random random = new Random(bits);
    for (int i = 0; i < 24; i++) {
      int k = i == 0 ? 1025 : size(random);
      codesEqualTheirTwin(random, bits, 1 + i % 4, k, k, i);
    }
  }

  private static void codesEqualTheirTwin(Random random, int bits, int m, int k, int group, int i) {
    Matrices matrices = new Matrices(new Threads(2), KERNELS);
    int n = size(random);
    DType type = INPUTS[i / 2 % INPUTS.length];
    Tensor x = random(random, type, m, k);
    // Groups of very different size, as outliers make them.
    for (int j = 0; j < x.count(); j++) {
      float outlier = j / group % 2 == 0 ? 1000 : 0x1p-40f;
      float value = Element.getFloat(x.storage().segment(), type, x.offset() + j);
      Element.setFloat(x.storage().segment(), type, x.offset() + j, value * outlier);
    }
    try (GuardedPages pages = new GuardedPages()) {
      PackedWeight w = weight(random, pages, bits, group, n, k, i);
      Tensor bias = i % 2 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
      Tensor out = pages.copy(empty(DType.F32, m, n));
      assertTrue(PackedProducts.serves(Operand.left(x), w));
      matrices.packedLinear(x, w, bias, out);
      Tensor twin = empty(DType.F32, m, n);
      ScalarMatrix.packedLinear(x, w, bias, twin);
      assertRounded(x, w, twin, out);
    }
  }

  private static final int FEW_TERMS = 16;

  /**
   * Differences are at most a few roundings of the terms, whatever of them cancels; and where x has
   * 16 bits, or terms are so few that errors need not cancel, what {@link WholeNumbers} rounds off.
   */
  private static void assertRounded(Tensor x, PackedWeight w, Tensor twin, Tensor out) {
    int part = DotKernels.codeGroup(w.groupSize(), w.columns());
    double codes = 1 << w.bits();
    double precision = x.dtype() == DType.F32 ? 0x1p-22 : 1.01 * 0x1p-15;
    for (int m = 0; m < out.dim(0); m++) {
      for (int n = 0; n < out.dim(1); n++) {
        double terms = 1;
        double rounded = 0;
        for (int from = 0; from < x.dim(1); from += part) {
          double scale = Math.abs(w.scales().get(n, from / w.groupSize()));
          double largest = 0;
          long end = Math.min(from + part, x.dim(1));
          for (int k = from; k < end; k++) {
            terms += codes * scale * Math.abs(x.get(m, k));
            largest = Math.max(largest, Math.abs(x.get(m, k)));
          }
          rounded += codes * scale * (end - from) * precision * largest;
        }
        boolean promised = x.dtype() != DType.F32 || x.dim(1) < FEW_TERMS;
        double bound = 0x1p-23 * terms + (promised ? rounded : 0);
        assertEquals(twin.get(m, n), out.get(m, n), bound, x + " " + w);
      }
    }
  }

  private static PackedWeight weight(
      Random random, GuardedPages pages, int bits, int group, int n, int k, int variant) {
    long groups = Math.ceilDiv(k, group);
    long rowWords = PackedWeight.wordsPerRow(k, bits);
    Tensor codes = pages.copy(bytes(random, n, rowWords * Integer.BYTES));
    Tensor words = Tensor.of(codes.segment(), DType.I32, Shape.of(n, rowWords));
    Tensor zeros = null;
    if (variant % 2 == 0) {
      zeros = empty(DType.U8, n, groups);
      for (long i = 0; i < zeros.count(); i++) {
        Element.setLong(
            zeros.storage().segment(), DType.U8, zeros.offset() + i, random.nextInt(1 << bits));
      }
      zeros = pages.copy(zeros);
    }
    DType type = variant % 3 == 0 ? DType.F32 : variant % 3 == 1 ? DType.F16 : DType.BF16;
    Tensor scales = pages.copy(random(random, type, n, groups));
    return new PackedWeight(bits, k, group, words, scales, zeros, null);
  }

  /** A number that is not finite takes another way, and shows in the result. */
  @Test
  void nanInXIsNotLost() {
    Matrices matrices = new Matrices(new Threads(1), KERNELS);
    try (GuardedPages pages = new GuardedPages()) {
      PackedWeight w = weight(new Random(5), pages, 4, 32, 7, 128, 1);
      Tensor x = random(new Random(6), DType.F32, 1, 128);
      Element.f32(x.storage().segment(), x.offset() + 9, Float.NaN);
      Tensor out = empty(DType.F32, 1, 7);
      matrices.packedLinear(x, w, null, out);
      for (int n = 0; n < 7; n++) {
        assertEquals(Double.NaN, out.get(0, n));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {896, 1025})
  void theNumberOfThreadsChangesNoBit(int depth) {
    Random random = new Random(4);
    Tensor x = random(random, DType.F32, 5, depth);
    Tensor w = random(random, DType.BF16, 999, depth);
    try (GuardedPages pages = new GuardedPages()) {
      PackedWeight four = weight(random, pages, 4, 128, 999, depth, 1);
      PackedWeight eight = weight(random, pages, 8, 128, 999, depth, 1);
      Tensor bf16 = random(random, DType.BF16, 5, depth);
      Tensor[][] results = new Tensor[2][4];
      for (int i = 0; i < 2; i++) {
        Matrices matrices = new Matrices(new Threads(1 + 2 * i), KERNELS);
        Arrays.setAll(results[i], _ -> empty(DType.F32, 5, 999));
        matrices.linear(x, w, null, results[i][0]);
        matrices.packedLinear(x, four, null, results[i][1]);
        matrices.packedLinear(x, eight, null, results[i][2]);
        matrices.packedLinear(bf16, four, null, results[i][3]);
      }
      for (int i = 0; i < results[0].length; i++) {
        assertSameBits(results[0][i], results[1][i], "product " + i);
      }
    }
  }
}
