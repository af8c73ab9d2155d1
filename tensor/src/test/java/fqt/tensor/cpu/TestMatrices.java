package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;

/** Random matrices in awkward layouts, inside memory whose surroundings are watched. */
final class TestMatrices {
  /** Sizes on both sides of every block, vector and tile boundary. */
  static final int[] SIZES = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257};

  private static final float CANARY = 12345.5f;
  private static final int MARGIN = 64;

  private TestMatrices() {}

  static int size(Random random) {
    return SIZES[random.nextInt(SIZES.length)];
  }

  /** A contiguous matrix of numbers from −1 to 1, rounded to the type. */
  static Tensor random(Random random, DType type, long rows, long columns) {
    Tensor x = empty(type, rows, columns);
    for (long i = 0; i < rows * columns; i++) {
      float value = random.nextFloat() * 2 - 1;
      Element.setFloat(x.storage().segment(), type, x.offset() + i, value);
    }
    return x;
  }

  /** A contiguous matrix of I8; extremes, where products and sums overflow first, are frequent. */
  static Tensor bytes(Random random, long rows, long columns) {
    Tensor x = empty(DType.I8, rows, columns);
    for (long i = 0; i < rows * columns; i++) {
      int value = random.nextInt(8) == 0 ? -128 : random.nextInt(256) - 128;
      Element.setLong(x.storage().segment(), DType.I8, x.offset() + i, value);
    }
    return x;
  }

  /** Such numbers as a contiguous matrix, a transpose, a slice, or every other row and column. */
  static Tensor randomLayout(Random random, DType type, long rows, long columns) {
    return switch (random.nextInt(4)) {
      case 0 -> random(random, type, rows, columns);
      case 1 -> random(random, type, columns, rows).transpose(0, 1);
      case 2 ->
          random(random, type, rows + 3, columns + 5)
              .slice(0, 2, rows + 2)
              .slice(1, 1, columns + 1);
      default -> everyOther(random(random, type, 2 * rows, 2 * columns));
    };
  }

  private static Tensor everyOther(Tensor x) {
    return x.reshape(x.dim(0) / 2, 2, x.dim(1) / 2, 2).select(3, 1).select(1, 0);
  }

  /** Uninitialised elements amid canaries; F32 ones are canaries themselves. */
  static Tensor empty(DType type, long rows, long columns) {
    long count = rows * columns;
    MemorySegment bytes = Arena.ofAuto().allocate((count + 2L * MARGIN) * type.byteSize(), 64);
    for (long i = 0; i < count + 2L * MARGIN; i++) {
      Element.setFloat(bytes, type, i, CANARY);
    }
    Tensor all = Tensor.of(bytes, type, Shape.of(count + 2L * MARGIN));
    return all.slice(0, MARGIN, MARGIN + count).reshape(rows, columns);
  }

  /** Fails if anything was written around a tensor that {@link #empty} made. */
  static void assertSurroundingsIntact(Tensor x) {
    DType type = x.dtype();
    MemorySegment bytes = x.storage().segment();
    MemorySegment one = Arena.ofAuto().allocate(type.byteSize());
    Element.setFloat(one, type, 0, CANARY);
    float canary = Element.getFloat(one, type, 0);
    long count = bytes.byteSize() / type.byteSize();
    for (int i = 0; i < MARGIN; i++) {
      assertEquals(canary, Element.getFloat(bytes, type, i), "before the tensor");
      assertEquals(canary, Element.getFloat(bytes, type, count - 1 - i), "behind the tensor");
    }
  }

  static Tensor copy(Tensor x) {
    Tensor copy = empty(x.dtype(), x.dim(0), x.dim(1));
    ScalarCopy.copy(x, copy);
    return copy;
  }

  /**
   * Checks elements against those of the twin.
   *
   * @param tolerance largest difference, as a part of the largest expected magnitude
   */
  static void assertClose(Tensor expected, Tensor actual, double tolerance, String what) {
    double largest = 1e-30;
    for (long m = 0; m < expected.dim(0); m++) {
      for (long n = 0; n < expected.dim(1); n++) {
        largest = Math.max(largest, Math.abs(expected.get(m, n)));
      }
    }
    for (long m = 0; m < expected.dim(0); m++) {
      for (long n = 0; n < expected.dim(1); n++) {
        double difference = Math.abs(expected.get(m, n) - actual.get(m, n));
        if (!(difference <= tolerance * largest)) {
          assertEquals(expected.get(m, n), actual.get(m, n), what + " at " + m + ", " + n);
        }
      }
    }
  }

  static void assertSameBits(Tensor expected, Tensor actual, String what) {
    for (long m = 0; m < expected.dim(0); m++) {
      for (long n = 0; n < expected.dim(1); n++) {
        if (Double.compare(expected.get(m, n), actual.get(m, n)) != 0) {
          assertEquals(expected.get(m, n), actual.get(m, n), what + " at " + m + ", " + n);
        }
      }
    }
    assertTrue(expected.shape().equals(actual.shape()), what);
  }
}
