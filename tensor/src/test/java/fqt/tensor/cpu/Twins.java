package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.Backend;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.function.BiConsumer;

/** The two tiers side by side, and what the tests of one against the other share. */
final class Twins {
  /** Lengths around every vector width, and some in between. */
  static final int[] SIZES = {
    1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 1023, 1025, 2500
  };

  static final Backend SCALAR = new ScalarBackend(new HostMemory(1 << 20));
  static final Backend VECTOR = vector(2);

  private Twins() {}

  /** The vector tier with so many threads. */
  static Backend vector(int threads) {
    return new CpuBackend(new HostMemory(1 << 20), new Threads(threads), KernelChoice.best());
  }

  /** Normally distributed numbers. */
  static Tensor random(Random random, double deviation, long... dims) {
    Tensor x = empty(DType.F32, dims);
    float[] values = new float[(int) x.count()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * deviation);
    }
    return Ops.of(values, dims);
  }

  static Tensor empty(DType dtype, long... dims) {
    return Ops.empty(Device.CPU, dtype, dims);
  }

  /** A tensor whose bytes are all 0x5a, so that what an operation leaves unwritten shows. */
  static Tensor dirty(DType dtype, long... dims) {
    Tensor x = empty(dtype, dims);
    x.storage().segment().fill((byte) 0x5a);
    return x;
  }

  /** Runs an operation on both tiers and returns the results: scalar first. */
  static Tensor[] both(DType dtype, long[] dims, BiConsumer<Backend, Tensor> operation) {
    Tensor[] results = {dirty(dtype, dims), dirty(dtype, dims)};
    operation.accept(SCALAR, results[0]);
    operation.accept(VECTOR, results[1]);
    return results;
  }

  /** Both tiers give the same bits. */
  static void same(String what, DType dtype, long[] dims, BiConsumer<Backend, Tensor> operation) {
    Tensor[] results = both(dtype, dims, operation);
    assertArrayEquals(bytes(results[0]), bytes(results[1]), what);
  }

  /** Both tiers agree: |difference| ≤ tolerance · (1 + |value|); NaN only beside NaN. */
  static void close(
      String what, double tolerance, long[] dims, BiConsumer<Backend, Tensor> operation) {
    Tensor[] results = both(DType.F32, dims, operation);
    close(what, tolerance, results[0].toFloats(), results[1].toFloats());
  }

  static void close(String what, double tolerance, float[] expected, float[] actual) {
    for (int i = 0; i < expected.length; i++) {
      int at = i;
      if (Float.isFinite(expected[i])) {
        double bound = tolerance * (1 + Math.abs(expected[i]));
        assertEquals(expected[i], actual[i], bound, () -> what + ", element " + at);
      } else {
        assertEquals(expected[i], actual[i], () -> what + ", element " + at);
      }
    }
  }

  static byte[] bytes(Tensor x) {
    return x.segment().toArray(ValueLayout.JAVA_BYTE);
  }
}
