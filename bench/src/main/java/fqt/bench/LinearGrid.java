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
 * All cells of {@link LinearTable} once, in one JVM: {@code fqt.bench.LinearGrid THREADS CHOICE}.
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
  private static final String[] LIBRARIES = {"openblas", "onednn", "fqt"};

  /** Operations from which on a cell is a large one: those take longer than all the others. */
  private static final double LARGE = 18e9;

  /** Bytes of weights that a few tokens go through before they come back to the first. */
  private static final String FAR = "64000000";

  /**
   * Turns of each library, of which the median counts, so that a processor which is away for some
   * milliseconds does not; and operations from which on one turn is enough.
   */
  private static final int TURNS = 5;

  private static final double LONG = 8e9;

  /** Seconds of a turn, if a call does not take longer. */
  private static final double TURN = 0.012;

  /**
   * Milliseconds for which the threads of OpenMP and OpenBLAS look out for work and take processors
   * from whoever comes next: 2^26 ticks in OpenBLAS.
   */
  private static final long SPINNING = 45;

  /** Seconds for which both processors work before a turn. */
  private static final double AWAKE = 0.002;

  private LinearGrid() {}

  /** Which cells are measured. */
  enum Choice {
    /** All but the large ones. */
    USUAL,
    /** Those of two layers. */
    SHORT,
    /** Those that take so long that the others do without them. */
    LARGE;

    /**
     * By its name, large or small.
     *
     * @throws IllegalArgumentException if there is none
     */
    static Choice of(String name) {
      return Arrays.stream(values())
          .filter(choice -> choice.name().equalsIgnoreCase(name))
          .findFirst()
          .orElseThrow(
              () -> new IllegalArgumentException("usual, short or large, not '" + name + "'"));
    }
  }

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
  static List<Cell> cells(Choice choice) {
    List<Cell> cells = new ArrayList<>();
    for (String layer : choice == Choice.SHORT ? LAYERS.subList(0, 2) : LAYERS) {
      int[] tokens =
          layer.equals("1023x1025") ? AWKWARD : layer.equals("1024x1024") ? SQUARE : TOKENS;
      for (int m : tokens) {
        Cell cell = new Cell(layer, m);
        if (cell.operations() >= LARGE == (choice == Choice.LARGE)) {
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
    for (Cell cell : cells(Choice.of(arguments[1]))) {
      byLayer.computeIfAbsent(cell.layer(), _ -> new ArrayList<>()).add(cell);
    }
    for (List<Cell> cells : byLayer.values()) {
      try (Scope scope = Scope.open()) {
        Cell first = cells.getFirst();
        Tensor weights = CpuWork.weights(first.outputs(), first.inputs());
        for (String type : TYPES) {
          try (Scope types = Scope.open()) {
            Tensor typed = CpuWork.converted(type, weights);
            cells.forEach(cell -> measure(cell, type, typed, threads));
          }
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
    Map<String, CpuWork> works = new LinkedHashMap<>();
    Map<String, List<Double>> times = new LinkedHashMap<>();
    int turns = cell.operations() < LONG ? TURNS : 1;
    try (Scope scope = Scope.open()) {
      for (String library : LIBRARIES) {
        boolean slow = library.equals("openblas") && cell.tokens() <= 16;
        if (CpuWork.exists(library, type) && !slow) {
          CpuWork work = new CpuWork(library, type, cell.tokens(), threads, weights);
          work.run();
          works.put(library, work);
        }
      }
      // Ours comes last, when all have the memory they want, and packs its weights as well.
      CpuWork ours = works.get("fqt");
      ours.settle();
      for (int turn = 0; turn < turns; turn++) {
        works.forEach(
            (library, work) -> {
              begin(works.size() > 1, threads, ours);
              times.computeIfAbsent(library, _ -> new ArrayList<>()).add(work.time(TURN));
            });
      }
    } finally {
      works.values().forEach(CpuWork::close);
    }
    times.forEach((library, turnTimes) -> print(cell, type, library, median(turnTimes)));
  }

  private static double median(List<Double> values) {
    values.sort(null);
    return values.get(values.size() / 2);
  }

  /**
   * Waits until the threads of others are asleep, and then wakes the processors: Linux would leave
   * two threads on one of them for many milliseconds, if the other had slept.
   */
  private static void begin(boolean others, int threads, CpuWork ours) {
    if (threads == 1 || !others) {
      return;
    }
    try {
      Thread.sleep(SPINNING);
    } catch (InterruptedException stop) {
      throw new IllegalStateException("interrupted", stop);
    }
    ours.time(AWAKE);
  }

  private static void print(Cell cell, String type, String library, double time) {
    double speed = cell.operations() / time * 1e-9;
    System.out.printf(
        Locale.ROOT, "%s %d %s %s %.3f%n", type, cell.tokens(), cell.layer(), library, speed);
  }
}
