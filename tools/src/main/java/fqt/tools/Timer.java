package fqt.tools;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Measures named parts of a program. Timers nest: a timer that is started while another of the same
 * thread runs is counted under both names, {@code outer/inner}. Any number of threads may measure.
 *
 * {@snippet :
 * try (var t = Timer.start("layer")) {
 *   quantize(layer);
 * }
 * System.out.println(Timer.table());
 * }
 */
public final class Timer implements AutoCloseable {
  private static final Map<String, ConcurrentLinkedQueue<Long>> NANOS = new ConcurrentHashMap<>();
  private static final ThreadLocal<Timer> CURRENT = new ThreadLocal<>();

  private final String path;
  private final Timer outer;
  private final long start = System.nanoTime();
  private boolean closed;

  /**
   * What one name took, in milliseconds.
   *
   * @param count how often
   * @param total of all
   * @param median half took less
   * @param p95 nineteen of twenty took less, or as much
   */
  public record Stats(long count, double total, double median, double p95) {
    /** The statistics of some times in nanoseconds. */
    static Stats of(long[] nanos) {
      long[] sorted = nanos.clone();
      Arrays.sort(sorted);
      int n = sorted.length;
      double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
      long p95 = sorted[(int) Math.ceil(0.95 * n) - 1];
      return new Stats(n, Arrays.stream(sorted).sum() / 1e6, median / 1e6, p95 / 1e6);
    }
  }

  private Timer(String name) {
    outer = CURRENT.get();
    path = outer == null ? name : outer.path + "/" + name;
    CURRENT.set(this);
  }

  /**
   * Starts measuring on this thread, until closed.
   *
   * @param name what is measured; inside another timer, the name follows that one's after a slash
   * @return ends the measurement when closed
   */
  public static Timer start(String name) {
    return new Timer(name);
  }

  /**
   * Ends the measurement; closing twice does nothing.
   *
   * @throws IllegalStateException if a timer started after this one still runs, or on another
   *     thread
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    long nanos = System.nanoTime() - start;
    if (CURRENT.get() != this) {
      throw new IllegalStateException("timer " + path + " is not the innermost of this thread");
    }
    closed = true;
    if (outer == null) {
      CURRENT.remove();
    } else {
      CURRENT.set(outer);
    }
    NANOS.computeIfAbsent(path, unused -> new ConcurrentLinkedQueue<>()).add(nanos);
  }

  /** {@return what was measured so far, by name, in the order of the names} */
  public static Map<String, Stats> stats() {
    Map<String, Stats> stats = new TreeMap<>();
    NANOS.forEach(
        (name, times) -> {
          List<Long> now = new ArrayList<>(times);
          stats.put(name, Stats.of(now.stream().mapToLong(Long::longValue).toArray()));
        });
    return stats;
  }

  /** {@return {@link #stats()} as a table} */
  public static String table() {
    Table table = new Table("name", "count", "total ms", "median ms", "p95 ms");
    stats()
        .forEach(
            (name, s) ->
                table.row(
                    name,
                    s.count(),
                    "%.3f".formatted(s.total()),
                    "%.3f".formatted(s.median()),
                    "%.3f".formatted(s.p95())));
    return table.toString();
  }

  /** Forgets what was measured. */
  public static void reset() {
    NANOS.clear();
  }
}
