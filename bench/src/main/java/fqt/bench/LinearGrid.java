package fqt.bench;

import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * All cells of {@link LinearTable} once, in one JVM: {@code fqt.bench.LinearGrid THREADS [short]}.
 * The libraries take turns in each cell. Prints a line for each cell and library: type, tokens,
 * layer, library, billions of operations a second.
 */
final class LinearGrid {
  /**
   * Outputs x inputs: the layers of Qwen2.5 with 0.5, 1.5 and 7 billion parameters, and awkward.
   */
  private static final List<String> LAYERS =
      List.of(
          "896x896",
          "4864x896",
          "896x4864",
          "1536x1536",
          "8960x1536",
          "1536x8960",
          "3584x3584",
          "18944x3584",
          "3584x18944",
          "1024x1024",
          "1023x1025");

  private static final int[] TOKENS = {1, 16, 128, 512, 2048};
  private static final int[] AWKWARD = {1, 17, 127, 513};
  private static final int[] SQUARE = {1024};
  private static final String[] TYPES = {"f32", "bf16", "s8", "int4"};
  private static final String[] LIBRARIES = {"fqt", "onednn", "openblas"};

  /** Operations of the largest cell; larger ones would take longer than all the others. */
  private static final double MOST_OPERATIONS = 18e9;

  /** Bytes of weights that a few tokens go through before they come back to the first. */
  private static final String FAR = "64000000";

  private static final int TURNS = 2;

  /** Seconds of a turn, if a call does not take longer. */
  private static final double TURN = 0.02;

  private LinearGrid() {}

  /** A layer and a number of tokens. */
  record Cell(String layer, int tokens) {
    int outputs() {
      return Integer.parseInt(layer.substring(0, layer.indexOf('x')));
    }

    int inputs() {
      return Integer.parseInt(layer.substring(layer.indexOf('x') + 1));
    }

    double operations() {
      return 2.0 * tokens * outputs() * inputs();
    }
  }

  /** The cells of the table, those of a layer side by side. */
  static List<Cell> cells(boolean brief) {
    List<Cell> cells = new ArrayList<>();
    for (String layer : brief ? LAYERS.subList(0, 2) : LAYERS) {
      int[] tokens =
          layer.equals("1023x1025") ? AWKWARD : layer.equals("1024x1024") ? SQUARE : TOKENS;
      for (int m : tokens) {
        Cell cell = new Cell(layer, m);
        if (cell.operations() < MOST_OPERATIONS) {
          cells.add(cell);
        }
      }
    }
    return cells;
  }

  /** Measures. */
  public static void main(String[] arguments) {
    int threads = Integer.parseInt(arguments[0]);
    System.setProperty("fqt.threads", arguments[0]);
    System.setProperty("fqt.bench.far", FAR);
    warmUp(threads);
    Map<String, List<Cell>> byLayer = new LinkedHashMap<>();
    for (Cell cell : cells(arguments.length > 1)) {
      byLayer.computeIfAbsent(cell.layer(), _ -> new ArrayList<>()).add(cell);
    }
    for (List<Cell> cells : byLayer.values()) {
      try (Scope scope = Scope.open()) {
        Cell first = cells.getFirst();
        Tensor weights = CpuWork.weights(first.outputs(), first.inputs());
        for (String type : TYPES) {
          cells.forEach(cell -> measure(cell, type, weights, threads));
        }
      }
    }
  }

  /** Long enough for C2 to have compiled what surrounds the kernels. */
  private static void warmUp(int threads) {
    for (String type : TYPES) {
      for (int tokens : new int[] {1, 16, 100, 300}) {
        new CpuWork("fqt", type, tokens, 520, 1100, threads).time(0.35);
      }
    }
  }

  private static void measure(Cell cell, String type, Tensor weights, int threads) {
    Map<String, double[]> times = new LinkedHashMap<>();
    List<CpuWork> works = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      for (String library : LIBRARIES) {
        boolean slow = library.equals("openblas") && cell.tokens() <= 16;
        if (CpuWork.exists(library, type) && !slow) {
          CpuWork work = new CpuWork(library, type, cell.tokens(), threads, weights);
          works.add(work);
          times.put(library, new double[TURNS]);
          work.run();
          if (library.equals("fqt")) {
            // The second product packs the weight and keeps it.
            work.run();
          }
        }
      }
      for (int turn = 0; turn < TURNS; turn++) {
        int next = 0;
        for (double[] time : times.values()) {
          time[turn] = works.get(next++).time(TURN);
        }
      }
    } finally {
      works.forEach(CpuWork::close);
    }
    times.forEach((library, time) -> print(cell, type, library, time));
  }

  private static void print(Cell cell, String type, String library, double[] time) {
    double speed = cell.operations() * TURNS / Arrays.stream(time).sum() * 1e-9;
    System.out.printf(
        Locale.ROOT, "%s %d %s %s %.3f%n", type, cell.tokens(), cell.layer(), library, speed);
  }
}
