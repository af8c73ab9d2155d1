package fqt.tools;

import java.util.Locale;

/**
 * A quick measurement of one call, for a look in passing; numbers to be relied on come from JMH.
 *
 * @param name what was measured
 * @param stats of the repeats, in milliseconds
 */
public record Benchmark(String name, Timer.Stats stats) {
  /**
   * Runs a function some times unmeasured, then some times measured.
   *
   * @param name what it is called in the result
   * @param function what is measured; it waits for what it starts
   * @param warmup unmeasured runs, 0 or more
   * @param repeats measured runs, at least 1
   * @return the times of the measured runs
   * @throws IllegalArgumentException if there is nothing to measure
   */
  public static Benchmark run(String name, Runnable function, int warmup, int repeats) {
    if (warmup < 0 || repeats < 1) {
      throw new IllegalArgumentException(
          "%d warm-up runs and %d repeats; expected at least 0 and 1".formatted(warmup, repeats));
    }
    for (int i = 0; i < warmup; i++) {
      function.run();
    }
    long[] nanos = new long[repeats];
    for (int i = 0; i < repeats; i++) {
      long start = System.nanoTime();
      function.run();
      nanos[i] = System.nanoTime() - start;
    }
    return new Benchmark(name, Timer.Stats.of(nanos));
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT, "%s: median %.3f ms, p95 %.3f ms", name, stats.median(), stats.p95());
  }
}
