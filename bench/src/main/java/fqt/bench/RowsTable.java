package fqt.bench;

import java.util.Arrays;
import java.util.Locale;
import org.openjdk.jmh.annotations.Param;

/**
 * {@link RowsBench} as a table in Markdown, with the floor of each operation and how far it is from
 * it: {@code fqt.bench.RowsTable [SECONDS [WORD]]}, with {@code -Dfqt.threads}; only operations
 * whose names contain the word.
 *
 * <p>What moves through memory has the bytes that it reads and writes at least over the rate of a
 * copy as its floor; what multiplies has its operations over those of multiply-adds that touch no
 * memory. Both references take turns with the operation, so that the distance holds on a busy
 * machine as well; each number is the median of five turns.
 */
public final class RowsTable {
  private static final int ROUNDS = 5;
  private static final int PEAK_ROUNDS = 3;

  private RowsTable() {}

  /** Prints the table. */
  public static void main(String[] arguments) throws ReflectiveOperationException {
    double seconds = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 0.15;
    String word = arguments.length > 1 ? arguments[1] : "";
    int threads = Integer.getInteger("fqt.threads", 1);
    RowsBench copy = made("copy", threads);
    copy.time(1);
    System.out.printf("%n%d thread(s)%n%n", threads);
    System.out.println(
        "| operation | moves or computes | floor, ms | now, ms | rate | of the floor |");
    System.out.println("|" + "---|".repeat(6));
    for (String name : RowsBench.class.getField("operation").getAnnotation(Param.class).value()) {
      if (name.contains(word)) {
        System.out.println(row(made(name, threads), copy, seconds, threads));
      }
    }
  }

  private static RowsBench made(String operation, int threads) {
    RowsBench bench = new RowsBench();
    bench.operation = operation;
    bench.threads = threads;
    bench.prepare();
    return bench;
  }

  private static String row(RowsBench bench, RowsBench copy, double seconds, int threads) {
    boolean multiplies = bench.flop() > 0;
    double amount = multiplies ? bench.flop() : bench.bytes();
    double[] times = new double[ROUNDS];
    double[] rates = new double[ROUNDS];
    bench.time(5 * seconds);
    for (int round = 0; round < ROUNDS; round++) {
      times[round] = bench.time(seconds);
      rates[round] =
          multiplies
              ? CpuFloor.multiplyAdds(threads, PEAK_ROUNDS)
              : copy.bytes() / copy.time(seconds / 2);
    }
    Arrays.sort(times);
    Arrays.sort(rates);
    double time = times[ROUNDS / 2];
    double floor = amount / rates[ROUNDS / 2];
    return String.format(
        Locale.ROOT,
        "| %s | %.1f %s | %.2f | %.2f | %.1f %s | %.2f |",
        bench.operation,
        amount * (multiplies ? 1e-9 : 1e-6),
        multiplies ? "Gop" : "MB",
        floor * 1e3,
        time * 1e3,
        amount / time * 1e-9,
        multiplies ? "Gop/s" : "GB/s",
        floor / time);
  }
}
