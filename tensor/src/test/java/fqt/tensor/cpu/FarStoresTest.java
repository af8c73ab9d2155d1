package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.DType;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import fqt.tensor.cpu.asm.Store;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Results that are so large that they are written past the caches have the bits of small ones. */
class FarStoresTest {
  private static final long LEAST = Store.FAR_FROM / Float.BYTES;

  private final Random random = new Random(29);
  private Scope scope;

  @BeforeEach
  void open() {
    assumeTrue(KernelChoice.best().rows() != null, "no machine code here");
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    if (scope != null) {
      scope.close();
    }
  }

  /** Runs an operation on a whole matrix and on a few of its rows at a time. */
  private static void sameAsInParts(
      Tensor x, DType type, long step, BiConsumer<Tensor, Tensor> operation) {
    long[] dims = x.shape().toArray();
    Tensor far = Twins.dirty(type, dims);
    assertTrue(far.byteSize() >= Store.FAR_FROM, "large enough: " + far);
    operation.accept(x, far);
    for (long first = 0; first < dims[0]; first += step) {
      long end = Math.min(first + step, dims[0]);
      Tensor near = Twins.dirty(type, end - first, dims[1]);
      operation.accept(x.slice(0, first, end), near);
      assertArrayEquals(
          Twins.bytes(near), Twins.bytes(far.slice(0, first, end)), "rows from " + first);
    }
  }

  /** Rows that begin at a multiple of a cache line, all or one in sixteen, and a tail. */
  @ParameterizedTest
  @ValueSource(longs = {4112, 7001, 1024 + 520, 513})
  void rows(long columns) {
    long rows = LEAST / columns + 3;
    Tensor x = Twins.random(random, 3, rows, columns);
    Tensor weight = Twins.random(random, 1, columns);
    sameAsInParts(x, DType.F32, 61, Twins.VECTOR::softmax);
    sameAsInParts(x, DType.F32, 61, (in, out) -> Twins.VECTOR.rmsNorm(in, weight, 1e-6f, out));
    sameAsInParts(
        x, DType.F32, 61, (in, out) -> Twins.VECTOR.layerNorm(in, weight, weight, 1e-6f, out));
    sameAsInParts(x, DType.F32, 61, (in, out) -> Twins.VECTOR.unary(UnaryOp.SILU, in, out));
    sameAsInParts(x, DType.F32, 61, (in, out) -> Twins.VECTOR.gated(UnaryOp.SILU, in, in, out));
  }

  /** Rows longer than what waits in the caches to be written. */
  @Test
  void softmaxOfLongRows() {
    Tensor x = Twins.random(random, 3, 5, 500_000);
    sameAsInParts(x, DType.F32, 1, Twins.VECTOR::softmax);
  }

  @Test
  void softmaxInPlace() {
    Tensor x = Twins.random(random, 3, 520, 4112);
    Tensor out = Twins.dirty(DType.F32, 520, 4112);
    Twins.VECTOR.softmax(x, out);
    Twins.VECTOR.softmax(x, x);
    assertArrayEquals(Twins.bytes(out), Twins.bytes(x));
  }

  @ParameterizedTest
  @CsvSource({
    "F32, F32",
    "F32, BF16",
    "F32, F16",
    "BF16, F32",
    "F16, F32",
    "BF16, BF16",
    "U8, U8",
    "F8_E4M3, F32",
    "F8_E5M2, BF16"
  })
  void copies(DType from, DType to) {
    long rows = Store.FAR_FROM / to.byteSize() / 4099 + 2;
    Tensor x = Twins.empty(from, rows, 4099);
    Twins.VECTOR.copy(Twins.random(random, 50, rows, 4099), x);
    sameAsInParts(x, to, 100, Twins.VECTOR::copy);
  }
}
