package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.MachineKernels.Tier;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.TileKernel;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Weights that are kept packed give the bits that packing them in each product gives. */
class KeptFormsTest {
  private static final int MUCH = 1 << 30;

  private final HostMemory memory = new HostMemory(MUCH);

  private static KernelChoice kernels(Tier tier) {
    try {
      return KernelChoice.machineCode(tier);
    } catch (ExecutableMemory.Refused refused) {
      return abort(refused.getMessage());
    }
  }

  private Tensor owned(Tensor values) {
    Tensor own = Tensor.of(memory.allocate(values.byteSize()), values.dtype(), values.shape());
    ScalarCopy.copy(values, own);
    return own;
  }

  /**
   * Runs a product four times, the last three with a frozen weight, on other numbers of threads.
   */
  private void assertKeptIsTheSame(
      Tensor weight, Consumer<Tensor> product, int m, long packedBytes) {
    long n = weight.dim(0);
    Tensor plain = empty(DType.F32, m, n);
    product.accept(plain);
    Ops.freeze(weight);
    long before = memory.liveBytes();
    for (int use = 1; use <= 3; use++) {
      Tensor out = empty(DType.F32, m, n);
      product.accept(out);
      assertSameBits(plain, out, weight + ", use " + use);
      assertEquals(use == 1 ? 0 : packedBytes, memory.liveBytes() - before, "use " + use);
    }
    weight.storage().release();
    assertTrue(memory.liveBytes() < before, "the packed form outlives its weight");
  }

  private static long packedBytes(long rows, long terms) {
    return Math.ceilDiv(rows, GemmKernel.COLUMNS) * GemmKernel.COLUMNS * (terms + 1) * 4;
  }

  @ParameterizedTest
  @EnumSource(Tier.class)
  void floats(Tier tier) {
    KernelChoice kernels = kernels(tier);
    Matrices matrices = new Matrices(new Threads(2), kernels, new KeptForms(memory, MUCH));
    Random random = new Random(1);
    // The second has several blocks of columns and of terms, the third of rows.
    int[][] sizes = {{33, 65, 70}, {17, 2100, 1100}, {1600, 40, 20}};
    for (DType type : new DType[] {DType.F32, DType.BF16, DType.F8_E4M3}) {
      boolean pairs = type == DType.BF16 && kernels.machine().pairs() != null;
      for (int[] size : sizes) {
        Tensor x = random(random, type, size[0], size[2]);
        Tensor w = owned(random(random, type, size[1], size[2]));
        Tensor bias = random(random, DType.F32, 1, size[1]).reshape(size[1]);
        long multiple = pairs ? kernels.machine().pairs().termsAtOnce() : 1;
        long terms = Math.ceilDiv(Math.ceilDiv(size[2], pairs ? 2 : 1), multiple) * multiple;
        assertKeptIsTheSame(
            w, out -> matrices.linear(x, w, bias, out), size[0], packedBytes(size[1], terms));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Tier.class)
  void integers(Tier tier) {
    KernelChoice kernels = kernels(tier);
    ByteProducts products = new ByteProducts(new Threads(3), kernels, new KeptForms(memory, MUCH));
    Random random = new Random(2);
    int[][] sizes = {{33, 65, 70}, {17, 2100, 1100}, {1600, 40, 20}, {40, 50, 5000}};
    for (int[] size : sizes) {
      Tensor x = TestMatrices.bytes(random, size[0], size[2]);
      Tensor w = owned(TestMatrices.bytes(random, size[1], size[2]));
      Tensor xScale = random(random, DType.F32, 1, size[0]).reshape(size[0]);
      Tensor wScale = random(random, DType.F32, 1, size[1]).reshape(size[1]);
      Tensor twin = empty(DType.F32, size[0], size[1]);
      ScalarMatrix.scaledLinear(x, xScale, w, wScale, null, twin);
      Tensor first = empty(DType.F32, size[0], size[1]);
      products.linear(x, xScale, w, wScale, null, first);
      assertSameBits(twin, first, w.toString());
      int numbers = kernels.machine().bytes().kind() == TileKernel.Kind.PAIRS ? 2 : 4;
      long multiple = kernels.machine().bytes().termsAtOnce();
      long terms = Math.ceilDiv(Math.ceilDiv(size[2], numbers), multiple) * multiple;
      assertKeptIsTheSame(
          w,
          out -> products.linear(x, xScale, w, wScale, null, out),
          size[0],
          packedBytes(size[1], terms));
    }
  }

  /** AMX multiplies a few rows by the packed form of a weight too, if there is one. */
  @ParameterizedTest
  @EnumSource(Tier.class)
  void fewRows(Tier tier) {
    KernelChoice kernels = kernels(tier);
    KeptForms forms = new KeptForms(memory, MUCH);
    Matrices matrices = new Matrices(new Threads(2), kernels, forms);
    ByteProducts products = new ByteProducts(new Threads(2), kernels, forms);
    boolean tiled = kernels.machine().bytes().kind().isTiled();
    Random random = new Random(4);
    int[][] sizes = {{5, 70, 64}, {9, 97, 1152}, {16, 64, 96}, {16, 2100, 1088}};
    for (int[] size : sizes) {
      int n = size[1];
      int k = size[2];
      Tensor x = random(random, DType.BF16, size[0], k);
      Tensor w = owned(random(random, DType.BF16, n, k));
      assertKeptIsTheSame(
          w, out -> matrices.linear(x, w, null, out), size[0], tiled ? packedBytes(n, k / 2) : 0);
      Tensor bytes = TestMatrices.bytes(random, size[0], k);
      Tensor codes = owned(TestMatrices.bytes(random, n, k));
      Tensor xScale = random(random, DType.F32, 1, size[0]).reshape(size[0]);
      Tensor wScale = random(random, DType.F32, 1, n).reshape(n);
      Tensor bias = random(random, DType.F32, 1, n).reshape(n);
      long terms = Gemm.roundUp(k / 4, kernels.machine().bytes().termsAtOnce());
      assertKeptIsTheSame(
          codes,
          out -> products.linear(bytes, xScale, codes, wScale, Matrices.floats(bias), out),
          size[0],
          tiled ? packedBytes(n, terms) : 0);
    }
  }

  @ParameterizedTest
  @EnumSource(Tier.class)
  void codesOfFourBits(Tier tier) {
    Matrices matrices = new Matrices(new Threads(2), kernels(tier), new KeptForms(memory, MUCH));
    Random random = new Random(3);
    Tensor words = Tensor.of(memory.allocate(70L * 16 * 4), DType.I32, Shape.of(70, 16));
    for (long i = 0; i < words.count(); i++) {
      Element.setLong(words.segment(), DType.I32, i, random.nextInt());
    }
    Tensor scales = random(random, DType.F16, 70, 4);
    PackedWeight weight = new PackedWeight(4, 128, 32, words, scales, null, null);
    Tensor x = random(random, DType.F32, 40, 128);
    assertKeptIsTheSame(
        words, out -> matrices.packedLinear(x, weight, null, out), 40, packedBytes(70, 128));
  }

  /** The kernels read a packed weight to its last byte and no further. */
  @ParameterizedTest
  @EnumSource(Tier.class)
  void packedWeightsAreReadWithinTheirBounds(Tier tier) {
    KernelChoice kernels = kernels(tier);
    Gemm gemm = new Gemm(new Threads(2), kernels.panels());
    Random random = new Random(4);
    for (int k : new int[] {1, 16, 100, 1025}) {
      try (GuardedPages pages = new GuardedPages()) {
        Operand x = Operand.left(random(random, DType.F32, 50, k));
        Operand w = Operand.left(random(random, DType.F32, 97, k));
        Tensor kept = pages.copy(empty(DType.F32, 1, Gemm.packedBytes(w) / Float.BYTES));
        gemm.pack(w, kept.segment());
        Tensor out = pages.copy(empty(DType.F32, 50, 97));
        gemm.multiply(x, w, kept.segment(), Result.of(out, 1, 0, null, false));
        Tensor expected = empty(DType.F32, 50, 97);
        gemm.multiply(x, w, Result.of(expected, 1, 0, null, false));
        assertSameBits(expected, out, "depth " + k);
      }
    }
  }

  /** What does not fit is packed in every product. */
  @Test
  void theLimitHolds() {
    KernelChoice kernels = KernelChoice.best();
    Matrices matrices = new Matrices(new Threads(1), kernels, new KeptForms(memory, 1000));
    Random random = new Random(5);
    Tensor x = random(random, DType.F32, 20, 30);
    Tensor w = owned(random(random, DType.F32, 40, 30));
    assertKeptIsTheSame(w, out -> matrices.linear(x, w, null, out), 20, 0);
  }

  @Test
  void frozenTensorsAreNotWrittenTo() {
    try (Scope scope = Scope.open()) {
      Tensor weight = Ops.zeros(Device.CPU, DType.F32, 4, 4);
      assertNull(weight.storage().derived());
      Ops.freeze(weight);
      assertNotNull(weight.slice(0, 1, 2).storage().derived());
      assertThrows(IllegalStateException.class, () -> Ops.fill(weight, 1));
      Tensor other = Ops.zeros(Device.CPU, DType.F32, 4, 4);
      assertThrows(IllegalStateException.class, () -> Ops.copyInto(other, weight));
      Ops.copyInto(weight, other);
    }
  }
}
