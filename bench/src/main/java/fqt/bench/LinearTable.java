package fqt.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * {@link LinearBench} as a table in Markdown: {@code fqt.bench.LinearTable [short]}. Each number is
 * the median of five fresh JVMs, and behind it stands the slowest of them as a part of the median;
 * {@code short} takes one JVM and a few rows, to see that all is in place.
 */
public final class LinearTable {
  private static final String[] LIBRARIES = {"fqt", "onednn", "openblas"};

  /** Weight, tokens, outputs x inputs. */
  private static final List<String> ROWS =
      List.of(
          "f32 1024 1024x1024",
          "f32 512 4864x896",
          "f32 127 1023x1025",
          "f32 1 18944x3584",
          "bf16 512 4864x896",
          "bf16 1 18944x3584",
          "s8 512 4864x896",
          "s8 1 18944x3584",
          "int4 512 4864x896",
          "int4 1 18944x3584");

  private static final List<String> SHORT =
      List.of("f32 512 4864x896", "s8 512 4864x896", "int4 1 18944x3584");

  private LinearTable() {}

  /** Runs the benchmarks and prints the table. */
  public static void main(String[] arguments) throws RunnerException {
    boolean brief = arguments.length > 0 && arguments[0].equals("short");
    for (int threads = 1; threads <= 2; threads++) {
      CpuFloor floor = CpuFloor.measure(threads);
      System.out.printf("%n%s%n%n", floor.description());
      System.out.println(
          "| weight | M x N x K | ours, Gop/s | oneDNN | OpenBLAS | ratio to the better | of the"
              + " multiply-adds | GB/s of weight | of reading |");
      System.out.println("|" + "---|".repeat(9));
      for (String row : brief ? SHORT : ROWS) {
        System.out.println(row(row.split(" "), floor, brief ? 1 : 5));
      }
    }
  }

  private static String row(String[] words, CpuFloor floor, int forks) throws RunnerException {
    Map<String, double[]> speeds = new LinkedHashMap<>();
    double bytes = 0;
    for (String library : LIBRARIES) {
      if (CpuWork.exists(library, words[0])) {
        RunResult result = run(words, library, floor.threads(), forks);
        speeds.put(library, forks(result, "megaflop"));
        bytes = library.equals("fqt") ? median(forks(result, "megabyte")) : bytes;
      }
    }
    double ours = median(speeds.get("fqt"));
    double best = 0;
    StringBuilder line = new StringBuilder("| " + words[0] + " | " + words[1] + " x ");
    line.append(words[2].replace("x", " x ")).append(" | ");
    for (String library : LIBRARIES) {
      double[] all = speeds.get(library);
      line.append(all == null ? "" : cell(all)).append(" | ");
      best = all == null || library.equals("fqt") ? best : Math.max(best, median(all));
    }
    boolean streams = words[1].equals("1");
    line.append(best == 0 ? "" : format("%.2f", ours / best)).append(" | ");
    line.append(streams ? "" : format("%.2f", ours / floor.peak())).append(" | ");
    line.append(streams ? format("%.1f", bytes) : "").append(" | ");
    return line.append(streams ? format("%.2f", bytes / floor.bandwidth()) : "") + " |";
  }

  private static RunResult run(String[] words, String library, int threads, int forks)
      throws RunnerException {
    Options options =
        new OptionsBuilder()
            .include(LinearBench.class.getSimpleName())
            .param("weight", words[0])
            .param("tokens", words[1])
            .param("layer", words[2])
            .param("threads", Integer.toString(threads))
            .param("library", library)
            .forks(forks)
            .warmupIterations(4)
            .warmupTime(TimeValue.milliseconds(400))
            .measurementIterations(2)
            .measurementTime(TimeValue.milliseconds(250))
            .shouldFailOnError(true)
            .verbosity(VerboseMode.SILENT)
            .build();
    return new Runner(options).runSingle();
  }

  /** What each JVM reached on average, in thousands a second. */
  private static double[] forks(RunResult result, String counter) {
    return result.getBenchmarkResults().stream()
        .mapToDouble(fork -> score(fork, counter) * 1e-3)
        .sorted()
        .toArray();
  }

  private static double score(BenchmarkResult fork, String counter) {
    return fork.getSecondaryResults().get(counter).getScore();
  }

  private static double median(double[] sorted) {
    return sorted[sorted.length / 2];
  }

  private static String cell(double[] sorted) {
    return format("%.1f", median(sorted)) + format(" (%.2f)", sorted[0] / median(sorted));
  }

  private static String format(String pattern, double value) {
    return String.format(Locale.ROOT, pattern, value);
  }
}
