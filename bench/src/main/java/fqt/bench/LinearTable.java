package fqt.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Linear layers of real sizes beside oneDNN and OpenBLAS, as tables in Markdown: {@code
 * fqt.bench.LinearTable [short|large]}. Five fresh JVMs for each number of threads measure all
 * cells ({@link LinearGrid}); each number is the median of the five, and behind it stands the
 * slowest of them as a part of the median. {@code short} takes two JVMs and two layers, to see that
 * all is in place; {@code large} the cells of more than 18 billion operations, which are left out
 * otherwise.
 */
public final class LinearTable {
  private static final int FORKS = 5;

  /**
   * When no more JVMs are begun: five of each take some twenty minutes on two quiet processors, and
   * half an hour with the large cells.
   */
  private static final Duration LIMIT = Duration.ofMinutes(20);

  private static final Duration LARGE_LIMIT = Duration.ofMinutes(30);

  private static final String HEADER =
      "| layer | tokens | f32 | oneDNN | OpenBLAS | ratio | bf16 | oneDNN | ratio | s8 | oneDNN"
          + " | ratio | int4, x bf16 |";

  private final CpuFloor floor;
  private final Map<String, List<Double>> speeds = new HashMap<>();
  private final List<Double> ratios = new ArrayList<>();
  private final List<Double> slowest = new ArrayList<>();

  private LinearTable(int threads) {
    floor = CpuFloor.measure(threads);
  }

  /** Runs the JVMs and prints the tables. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    LinearGrid.Choice choice = LinearGrid.Choice.of(arguments.length > 0 ? arguments[0] : "usual");
    Duration limit = choice == LinearGrid.Choice.LARGE ? LARGE_LIMIT : LIMIT;
    long end = System.nanoTime() + limit.toNanos();
    LinearTable[] tables = {new LinearTable(1), new LinearTable(2)};
    int forks = 0;
    while (forks < (choice == LinearGrid.Choice.SHORT ? 2 : FORKS) && System.nanoTime() < end) {
      for (LinearTable table : tables) {
        table.fork(choice);
      }
      forks++;
    }
    for (LinearTable table : tables) {
      System.out.printf("%n%s; %d JVMs%n%n", table.floor.description(), forks);
      table.print(choice);
    }
  }

  private void fork(LinearGrid.Choice choice) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.add(LinearGrid.class.getName());
    command.addAll(List.of(Integer.toString(floor.threads()), choice.name()));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    try (BufferedReader lines = process.inputReader()) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        int last = line.lastIndexOf(' ');
        if (line.matches("\\w+ \\d+ \\d+x\\d+ \\w+ [0-9.]+")) {
          speeds
              .computeIfAbsent(line.substring(0, last), _ -> new ArrayList<>())
              .add(Double.valueOf(line.substring(last + 1)));
        }
      }
    }
    if (process.waitFor() != 0) {
      throw new IllegalStateException("a JVM of the benchmark ended with " + process.exitValue());
    }
  }

  private void print(LinearGrid.Choice choice) {
    speeds.values().forEach(list -> list.sort(null));
    System.out.println(HEADER);
    System.out.println("|" + "---|".repeat(HEADER.split("\\|").length - 1));
    for (LinearGrid.Cell cell : LinearGrid.cells(choice)) {
      StringBuilder line = new StringBuilder();
      line.append("| ").append(cell.layer()).append(" | ").append(cell.tokens()).append(" | ");
      for (String type : List.of("f32", "bf16", "s8")) {
        String key = type + " " + cell.tokens() + " " + cell.layer() + " ";
        double best = Math.max(median(key + "onednn"), median(key + "openblas"));
        double ratio = median(key + "fqt") / best;
        line.append(number(key + "fqt")).append(" | ").append(number(key + "onednn"));
        line.append(type.equals("f32") ? " | " + number(key + "openblas") : "");
        line.append(" | ").append(best == 0 ? "" : format("%.2f", ratio)).append(" | ");
        if (best > 0 && cell.tokens() >= 100) {
          ratios.add(ratio);
        }
      }
      line.append(number("int4 " + cell.tokens() + " " + cell.layer() + " fqt")).append(" |");
      System.out.println(line);
    }
    ratios.sort(null);
    slowest.sort(null);
    System.out.printf(
        Locale.ROOT,
        "%nFrom 100 tokens on, ratio to the better peer: median %.2f, least %.2f. Slowest JVM of"
            + " ours as a part of its median: median %.2f, least %.2f.%n",
        ratios.isEmpty() ? 0 : ratios.get(ratios.size() / 2),
        ratios.isEmpty() ? 0 : ratios.getFirst(),
        slowest.get(slowest.size() / 2),
        slowest.getFirst());
  }

  private double median(String key) {
    List<Double> sorted = speeds.get(key);
    return sorted == null ? 0 : sorted.get(sorted.size() / 2);
  }

  private String number(String key) {
    if (!speeds.containsKey(key)) {
      return "";
    }
    double least = speeds.get(key).getFirst() / median(key);
    if (key.endsWith("fqt")) {
      slowest.add(least);
    }
    return format("%.1f", median(key)) + format(" (%.2f)", least);
  }

  private static String format(String pattern, double value) {
    return String.format(Locale.ROOT, pattern, value);
  }
}
