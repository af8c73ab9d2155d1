package fqt.bench;

import fqt.cuda.CudaContext;
import fqt.cuda.CudaDevices;
import fqt.cuda.MatmulOptions;
import fqt.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;

/**
 * Our GPU matrix products beside PyTorch's, on the layer shapes of Qwen2.5-7B and on 8192 x 8192:
 * {@code fqt.bench.CudaBench [peer script] [python]}. All of a shape are timed in turn, ours beside
 * its peers, forwards and backwards, as graphs of about four milliseconds over rotated weights; the
 * table has the medians. Our weights are at rest ({@link MatmulOptions#withSettledWeights}).
 * Without a GPU it says so and succeeds.
 */
public final class CudaBench {
  private static final int[][] LAYERS = {
    {4608, 3584}, {3584, 3584}, {37888, 3584}, {3584, 18944}, {8192, 8192}
  };
  private static final int[] TOKENS = {1, 16, 17, 33, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
  private static final int ROUNDS = 7;

  /** Ours and its peers one after the other: how warm the GPU is depends on what ran before. */
  private static final List<String> ORDER =
      List.of(
          "fast",
          "e4m3 rowwise fast",
          "e4m3 tensorwise fast",
          "precise",
          "e4m3 rowwise precise",
          "e4m3 tensorwise precise",
          "s8",
          "int8 raw",
          "int8",
          "bf16 ours",
          "bf16");

  // Ceilings of an H200 that floors are computed from: the best e4m3 rate seen, and a device copy.
  private static final double PEAK_OPERATIONS = 1.5e15;
  private static final double COPY_BYTES = 4.3e12;

  private CudaBench() {}

  /** Prints the table, in Markdown. */
  public static void main(String[] arguments) throws IOException {
    if (CudaDevices.count() == 0) {
      System.out.println("skipped, " + CudaDevices.describe().getFirst());
      return;
    }
    System.out.println(CudaDevices.describe().getFirst());
    Path script = arguments.length > 0 ? Path.of(arguments[0]) : null;
    String python = arguments.length > 1 ? arguments[1] : "python3";
    try (CudaContext context = CudaContext.open(0);
        TorchPeer peer =
            script != null && Files.exists(script) ? new TorchPeer(python, script) : null) {
      if (peer == null) {
        System.out.println("without peers: no script was named");
      } else {
        System.out.printf("device copy: %.2f TB/s%n%n", peer.copyRate() / 1e12);
      }
      header();
      for (int[] layer : LAYERS) {
        try (CudaOperands operands = new CudaOperands(context, layer[0], layer[1])) {
          for (int m : TOKENS) {
            System.out.println(row(context, peer, m, operands));
          }
        }
      }
      hostTime(context, peer);
      CudaQuantizeBench.run(context);
      CudaBlockwiseBench.run(context);
    }
  }

  private static void header() {
    System.out.println(
        "| M | N x K | floor us | e4m3 fast | torch rowwise, tensorwise | ratio | e4m3 precise |"
            + " torch rowwise, tensorwise | ratio | int8 | torch _int_mm, with scales | ratio |"
            + " bf16 | torch | ratio | of copy |");
    System.out.println("|" + "---|".repeat(16));
  }

  private static String row(CudaContext context, TorchPeer peer, int m, CudaOperands layer) {
    Map<String, DoubleSupplier> work = new LinkedHashMap<>();
    List<CudaWork> ours = new ArrayList<>();
    try {
      add(work, ours, "fast", context, DType.F8_E4M3, MatmulOptions.FAST, layer, m);
      add(work, ours, "precise", context, DType.F8_E4M3, MatmulOptions.PRECISE, layer, m);
      add(work, ours, "s8", context, DType.I8, MatmulOptions.FAST, layer, m);
      add(work, ours, "bf16 ours", context, DType.BF16, MatmulOptions.FAST, layer, m);
      if (peer != null) {
        peer.shape(m, layer.n(), layer.k()).forEach(name -> work.put(name, () -> peer.time(name)));
      }
      return format(m, layer.n(), layer.k(), medians(work));
    } finally {
      ours.forEach(CudaWork::close);
    }
  }

  private static void add(
      Map<String, DoubleSupplier> work,
      List<CudaWork> ours,
      String name,
      CudaContext context,
      DType operand,
      MatmulOptions options,
      CudaOperands layer,
      int m) {
    CudaWork one = new CudaWork(context, operand, options.withSettledWeights(), layer, m);
    ours.add(one);
    work.put(name, one::time);
  }

  private static Map<String, Double> medians(Map<String, DoubleSupplier> work) {
    Map<String, List<Double>> times = new LinkedHashMap<>();
    List<String> names = new ArrayList<>(ORDER);
    names.retainAll(work.keySet());
    for (int round = 0; round <= ROUNDS; round++) {
      for (String name : round % 2 == 0 ? names : names.reversed()) {
        double time = work.get(name).getAsDouble();
        if (round > 0) {
          times.computeIfAbsent(name, _ -> new ArrayList<>()).add(time);
        }
      }
    }
    Map<String, Double> medians = new LinkedHashMap<>();
    times.forEach(
        (name, list) -> medians.put(name, list.stream().sorted().toList().get(ROUNDS / 2)));
    return medians;
  }

  private static String format(long m, long n, long k, Map<String, Double> t) {
    double floor =
        Math.max(2.0 * m * n * k / PEAK_OPERATIONS, (n * k + m * k + 2.0 * m * n) / COPY_BYTES)
            * 1e6;
    return "| %d | %d x %d | %.1f | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %.0f %% |"
        .formatted(
            m,
            n,
            k,
            floor,
            cell(t, m, n, k, "fast"),
            pair(t, "e4m3 rowwise fast", "e4m3 tensorwise fast"),
            ratio(t, "fast", "e4m3 rowwise fast", "e4m3 tensorwise fast"),
            cell(t, m, n, k, "precise"),
            pair(t, "e4m3 rowwise precise", "e4m3 tensorwise precise"),
            ratio(t, "precise", "e4m3 rowwise precise", "e4m3 tensorwise precise"),
            cell(t, m, n, k, "s8"),
            pair(t, "int8 raw", "int8"),
            ratio(t, "s8", "int8 raw", "int8"),
            cell(t, m, n, k, "bf16 ours"),
            t.containsKey("bf16") ? "%.1f".formatted(t.get("bf16")) : "-",
            ratio(t, "bf16 ours", "bf16"),
            100 * (n * k + m * k + 2.0 * m * n) / t.get("fast") / 1e-6 / COPY_BYTES);
  }

  private static String cell(Map<String, Double> t, long m, long n, long k, String name) {
    return "%.1f (%.0f T)".formatted(t.get(name), 2.0 * m * n * k / t.get(name) / 1e6);
  }

  private static String pair(Map<String, Double> t, String first, String second) {
    return t.containsKey(first) ? "%.1f, %.1f".formatted(t.get(first), t.get(second)) : "-";
  }

  /** How many times as fast as each peer. */
  private static String ratio(Map<String, Double> t, String ours, String... peers) {
    List<String> words = new ArrayList<>();
    for (String peer : peers) {
      if (t.containsKey(peer)) {
        words.add("%.2f".formatted(t.get(peer) / t.get(ours)));
      }
    }
    return words.isEmpty() ? "-" : String.join(", ", words);
  }

  private static void hostTime(CudaContext context, TorchPeer peer) {
    int m = 16;
    int n = 4608;
    int k = 3584;
    MatmulOptions settled = MatmulOptions.FAST.withSettledWeights();
    try (CudaOperands layer = new CudaOperands(context, n, k);
        CudaWork work = new CudaWork(context, DType.F8_E4M3, settled, layer, m)) {
      for (int i = 0; i < 50; i++) {
        work.call();
      }
      System.out.printf("%nhost time of a call, %d x %d x %d: %.1f us", m, n, k, work.call());
    }
    if (peer != null) {
      peer.shape(m, n, k);
      peer.call("e4m3 rowwise fast");
      System.out.printf(", torch %.1f us", peer.call("e4m3 rowwise fast"));
    }
    System.out.println();
  }
}
