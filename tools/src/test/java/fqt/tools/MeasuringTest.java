package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Errors, timers and quick benchmarks. */
class MeasuringTest {
  @Test
  void errorsAreThoseOfTheDefinition() {
    Tensor expected = Ops.of(new float[] {3, 4, 0, 0}, 2, 2);
    Tensor actual = Ops.of(new float[] {3, 4, 0, 0.5f}, 2, 2);
    Errors errors = Errors.compare(actual, expected);
    assertEquals(0.5, errors.max());
    assertEquals(0.125, errors.mean());
    assertEquals(0.1, errors.relative(), 1e-12);
    assertEquals(25 / Math.sqrt(25 * 25.25), errors.cosine(), 1e-12);
    assertEquals(20, errors.sqnr(), 1e-9);
  }

  @Test
  void equalTensorsHaveNoError() {
    Tensor x = Ops.of(new float[] {1, -2, 3}, 3);
    Errors errors = Errors.compare(Ops.to(x, DType.BF16), x);
    assertEquals(new Errors(0, 0, 0, errors.cosine(), Double.POSITIVE_INFINITY), errors);
    assertEquals(1, errors.cosine(), 1e-15);
    assertEquals(1, Errors.compare(Ops.of(new float[1], 1), Ops.of(new float[1], 1)).cosine());
  }

  @Test
  void nanAndOtherShapesAreNotOverlooked() {
    Tensor x = Ops.of(new float[] {1, 2}, 2);
    Tensor nan = Ops.of(new float[] {1, Float.NaN}, 2);
    Errors errors = Errors.compare(nan, x);
    assertTrue(Double.isNaN(errors.max()) && Double.isNaN(errors.sqnr()), errors.toString());
    assertThrows(IllegalArgumentException.class, () -> Errors.compare(x, x.reshape(1, 2)));
  }

  @Test
  void statisticsOfTimes() {
    long[] nanos = new long[20];
    for (int i = 0; i < nanos.length; i++) {
      nanos[i] = (20 - i) * 1_000_000L;
    }
    assertEquals(new Timer.Stats(20, 210, 10.5, 19), Timer.Stats.of(nanos));
    assertEquals(new Timer.Stats(1, 2, 2, 2), Timer.Stats.of(new long[] {2_000_000}));
  }

  @Test
  void timersNestAndCountOnAllThreads() throws InterruptedException {
    Timer.reset();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      threads.add(
          Thread.ofPlatform()
              .start(
                  () -> {
                    for (int j = 0; j < 100; j++) {
                      try (Timer outer = Timer.start("outer");
                          Timer inner = Timer.start("inner")) {
                        Thread.onSpinWait();
                      }
                    }
                  }));
    }
    for (Thread thread : threads) {
      thread.join();
    }
    Map<String, Timer.Stats> stats = Timer.stats();
    assertEquals(List.of("outer", "outer/inner"), List.copyOf(stats.keySet()));
    assertEquals(400, stats.get("outer").count());
    assertEquals(400, stats.get("outer/inner").count());
    assertTrue(stats.get("outer").total() >= stats.get("outer/inner").total());
    assertTrue(Timer.table().lines().count() == 3, Timer.table());
    Timer.reset();
    assertEquals(Map.of(), Timer.stats());
  }

  @Test
  void timersCloseInOrder() {
    try (Timer outer = Timer.start("first")) {
      Timer inner = Timer.start("second");
      assertThrows(IllegalStateException.class, outer::close);
      inner.close();
    }
  }

  @Test
  void benchmarksRunWarmUpAndRepeats() {
    AtomicInteger calls = new AtomicInteger();
    Benchmark benchmark = Benchmark.run("count", calls::incrementAndGet, 3, 5);
    assertEquals(8, calls.get());
    assertEquals(5, benchmark.stats().count());
    assertThrows(IllegalArgumentException.class, () -> Benchmark.run("none", () -> {}, 0, 0));
  }
}
