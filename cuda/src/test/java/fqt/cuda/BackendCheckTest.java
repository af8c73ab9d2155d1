package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The checks of the GPU's backend, checked without one: the CPU takes its place. */
class BackendCheckTest {
  private final List<String> failed = new ArrayList<>();
  private int reports;

  private Twin twin(long seed) {
    return new Twin("case", Device.CPU, new Random(seed), this::report);
  }

  private void report(String title, double error) {
    reports++;
    if (!(error <= 1)) {
      failed.add(title + ": " + error);
    }
  }

  @Test
  void theCpuAgreesWithItselfInEveryCase() {
    for (BackendCheck.Case one : BackendCheck.cases()) {
      int before = reports;
      one.body().accept(twin(one.name().hashCode()));
      assertTrue(reports > before, one.name() + " checks nothing");
    }
    assertEquals(List.of(), failed);
  }

  @Test
  void resultsThatDifferAreFound() {
    Tensor x = twin(1).normal(17, 3);
    float[] shift = {0};
    twin(2)
        .check(
            "drifts by a thousandth a call",
            1e-4,
            in -> {
              shift[0] += 1e-3f;
              return new Tensor[] {Ops.affine(in[0], 1, shift[0])};
            },
            x);
    assertEquals(2, failed.size(), failed.toString());
  }

  @Test
  void resultsWithinTheBoundPassAndNaNsDoNot() {
    Tensor x = twin(1).normal(17, 3);
    boolean[] called = {false};
    twin(2)
        .check(
            "a bit more than it should be",
            1e-2,
            in -> {
              boolean first = !called[0];
              called[0] = true;
              return new Tensor[] {Ops.affine(in[0], first ? 1 : 1.001f, 0)};
            },
            x);
    assertEquals(List.of(), failed);
    called[0] = false;
    twin(3)
        .check(
            "not a number",
            1e-2,
            in -> {
              boolean first = !called[0];
              called[0] = true;
              return new Tensor[] {Ops.affine(in[0], first ? 1 : Float.NaN, 0)};
            },
            x);
    assertEquals(1, failed.size(), failed.toString());
  }
}
