package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertClose;
import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.size;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PackedLinearTest {
  private static final DType[] SCALES = {DType.F32, DType.F16, DType.BF16};

  private final Matrices matrices = new Matrices(new Threads(2), KernelChoice.best());

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5, 6, 7, 8})
  void equalsItsTwinAndItsDequantizedCopy(int bits) {
    Random random = new Random(bits);
    for (int i = 0; i < 32; i++) {
      int m = i % 2 == 0 ? 1 + i / 2 % 8 : size(random);
      int n = size(random);
      int k = i % 5 == 0 ? 1100 + i : size(random);
      PackedWeight weight = weight(random, bits, n, k, i);
      Tensor x = random(random, DType.F32, m, k);
      Tensor bias = i % 3 == 0 ? null : random(random, DType.F32, 1, n).reshape(n);
      check(x, weight, bias);
    }
  }

  private void check(Tensor x, PackedWeight weight, Tensor bias) {
    long m = x.dim(0);
    long n = weight.rows();
    String what = x + " " + weight;
    Tensor out = empty(DType.F32, m, n);
    matrices.packedLinear(x, weight, bias, out);
    Tensor expected = empty(DType.F32, m, n);
    ScalarMatrix.packedLinear(x, weight, bias, expected);
    assertClose(expected, out, 1e-6 * Math.max(4, Math.sqrt((double) weight.columns())), what);
    assertSurroundingsIntact(out);
    Tensor dense = empty(DType.F32, n, weight.columns());
    for (int row = 0; row < n; row++) {
      FloatRuns.write(
          ScalarMatrix.row(weight, row),
          0,
          (int) weight.columns(),
          dense.storage().segment(),
          dense.offset() + row * weight.columns());
    }
    Tensor same = empty(DType.F32, m, n);
    matrices.linear(x, dense, bias, same);
    if (m > Streaming.MOST_ROWS) {
      assertSameBits(same, out, what);
    }
  }

  /** Random codes and scales; {@code variant} chooses group size, zeros, scale type and index. */
  private static PackedWeight weight(Random random, int bits, int n, int k, int variant) {
    int[] sizes = {k, 1, 8, 32, 33, 128};
    int group = Math.min(k, sizes[variant % sizes.length]);
    int groups = Math.ceilDiv(k, group);
    Tensor codes = ints(n, PackedWeight.wordsPerRow(k, bits));
    for (long i = 0; i < codes.count(); i++) {
      Element.setLong(codes.segment(), DType.I32, i, random.nextInt());
    }
    Tensor zeros = variant % 3 == 0 ? null : zeros(random, bits, n, groups);
    Tensor index = variant % 4 != 1 ? null : index(random, k, groups);
    Tensor scales = random(random, SCALES[variant % 3], n, groups);
    return new PackedWeight(bits, k, group, codes, scales, zeros, index);
  }

  private static Tensor zeros(Random random, int bits, int n, int groups) {
    Tensor zeros = empty(DType.U8, n, groups);
    for (long i = 0; i < zeros.count(); i++) {
      Element.setLong(zeros.segment(), DType.U8, i, random.nextInt(1 << bits));
    }
    return zeros;
  }

  private static Tensor index(Random random, int k, int groups) {
    Tensor index = ints(1, k).reshape(k);
    for (int i = 0; i < k; i++) {
      Element.setLong(index.segment(), DType.I32, i, random.nextInt(groups));
    }
    return index;
  }

  private static Tensor ints(long rows, long columns) {
    return Tensor.of(
        Arena.ofAuto().allocate(rows * columns * Integer.BYTES, 64),
        DType.I32,
        Shape.of(rows, columns));
  }
}
