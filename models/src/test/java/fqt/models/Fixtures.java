package fqt.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.Random;

/** The reference models, and comparisons with them. */
final class Fixtures {
  private Fixtures() {}

  static Path path(String name) {
    String root = System.getProperty("fqt.fixtures");
    if (root == null) {
      throw new IllegalStateException("run with -Dfqt.fixtures=FOLDER");
    }
    return Path.of(root).resolve(name);
  }

  /** Asserts that no element is further off than a part of the largest expected one. */
  static void assertClose(String what, Tensor expected, Tensor actual, double tolerance) {
    assertEquals(expected.shape(), actual.shape(), what);
    float[] want = Ops.contiguous(expected).toFloats();
    float[] have = Ops.contiguous(actual).toFloats();
    double largest = 0;
    double worst = 0;
    for (int i = 0; i < want.length; i++) {
      largest = Math.max(largest, Math.abs(want[i]));
      double distance = Math.abs(want[i] - have[i]);
      worst = Double.isNaN(distance) ? Double.POSITIVE_INFINITY : Math.max(worst, distance);
    }
    double relative = worst / largest;
    assertTrue(relative <= tolerance, what + " is off by " + relative + " of the largest");
  }

  /** Token ids I32 of a shape. */
  static Tensor ids(Random random, int vocabulary, long... shape) {
    int count = 1;
    for (long dim : shape) {
      count *= (int) dim;
    }
    return Ops.of(random.ints(count, 0, vocabulary).toArray(), shape);
  }
}
