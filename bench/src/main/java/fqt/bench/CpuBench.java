package fqt.bench;

import fqt.tensor.Backends;
import fqt.tensor.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoubleSupplier;

/**
 * Our matrix products on the CPU beside PyTorch's, which run in a process of their own and take
 * turns with ours: {@code fqt.bench.CpuBench [SECONDS [SCRIPT|- [PYTHON [SHAPE...]]]]}, shapes like
 * {@code 1x4864x896}, or {@code int4:1x4864x896} for one type. x is BF16 for {@code int4}, F32 for
 * {@code int4-f32}. The number of threads is that of {@code -Dfqt.threads}, for both. Weights of a
 * few rows rotate, so that none is found in a cache. Prints a table in Markdown, with what the
 * processor can do at all: multiply-adds that touch no memory, and a sum over memory.
 */
public final class CpuBench {
  private static final String[] TYPES = {"f32", "bf16", "s8", "int4", "int4-f32"};
  private static final String[] SHAPES = {
    "1024x1024x1024", "512x4864x896", "2048x1408x512", "1x18944x3584", "16x4864x896"
  };
  private static final int ROUNDS = 5;

  private CpuBench() {}

  /** Prints the table. */
  public static void main(String[] arguments) throws IOException {
    double seconds = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 0.1;
    int threads = Integer.getInteger("fqt.threads", 1);
    System.setProperty("fqt.threads", Integer.toString(threads));
    String[] shapes =
        arguments.length > 3 ? Arrays.copyOfRange(arguments, 3, arguments.length) : SHAPES;
    Backends.of(Device.CPU).describe().forEach(System.out::println);
    boolean alone = arguments.length < 2 || arguments[1].equals("-");
    String python = arguments.length > 2 ? arguments[2] : "python3";
    try (TorchPeer peer = alone ? null : new TorchPeer(python, Path.of(arguments[1]))) {
      warmUp(threads);
      if (peer != null) {
        peer.threads(threads);
      }
      CpuFloor floor = CpuFloor.measure(threads);
      System.out.println(floor.description());
      run(seconds, floor, peer, shapes);
    }
  }

  /** Long enough for C2 to have compiled what surrounds the kernels. */
  private static void warmUp(int threads) {
    for (String type : TYPES) {
      new CpuWork("fqt", type, 256, 512, 512, threads).time(0.7);
      new CpuWork("fqt", type, 1, 512, 512, threads).time(0.5);
      new CpuWork("fqt", type, 8, 512, 512, threads).time(0.3);
    }
  }

  private static void run(double seconds, CpuFloor floor, TorchPeer peer, String[] shapes) {
    System.out.println(
        "\n| type | M x N x K | G/s | slowest | GB/s of weights | of the floor | peers, G/s |"
            + " ratio to the best |");
    System.out.println("|" + "---|".repeat(8));
    for (String shape : shapes) {
      String[] words = shape.split(":");
      int[] sizes =
          Arrays.stream(words[words.length - 1].split("x")).mapToInt(Integer::parseInt).toArray();
      for (String type : words.length > 1 ? words[0].split(",") : TYPES) {
        System.out.println(row(type, sizes, seconds, floor, peer));
      }
    }
  }

  private static String row(
      String type, int[] shape, double seconds, CpuFloor floor, TorchPeer peer) {
    CpuWork ours = new CpuWork("fqt", type, shape[0], shape[1], shape[2], floor.threads());
    ours.settle();
    Map<String, DoubleSupplier> work = new LinkedHashMap<>();
    work.put("fqt", () -> ours.time(seconds));
    if (CpuWork.exists("onednn", type)) {
      CpuWork other = new CpuWork("onednn", type, shape[0], shape[1], shape[2], floor.threads());
      work.put("oneDNN", () -> other.time(seconds));
    }
    if (peer != null) {
      String words = "%s %d %d %d".formatted(type.split("-")[0], shape[0], shape[1], shape[2]);
      for (String name : peer.operands(words)) {
        work.put(name, () -> peer.time(name + " " + seconds));
      }
    }
    Map<String, List<Double>> times = times(work);
    double operations = 2e-9 * shape[0] * shape[1] * shape[2];
    List<Double> fqt = times.remove("fqt");
    StringBuilder peers = new StringBuilder();
    double best = Double.POSITIVE_INFINITY;
    for (Map.Entry<String, List<Double>> other : times.entrySet()) {
      double time = other.getValue().get(ROUNDS / 2);
      best = Math.min(best, time);
      peers.append("%s %.1f ".formatted(other.getKey(), operations / time));
    }
    double time = fqt.get(ROUNDS / 2);
    double bytes = ours.weightBytes() / time * 1e-9;
    double share = shape[0] > 16 ? operations / time / floor.peak() : bytes / floor.bandwidth();
    return String.format(
        Locale.ROOT,
        "| %s | %d x %d x %d | %.1f | %.2f | %.1f | %.2f | %s| %.2f |",
        type,
        shape[0],
        shape[1],
        shape[2],
        operations / time,
        time / fqt.getLast(),
        bytes,
        share,
        peers,
        best / time);
  }

  /** The sorted times of each, one round more than counted to warm up. */
  private static Map<String, List<Double>> times(Map<String, DoubleSupplier> work) {
    Map<String, List<Double>> times = new LinkedHashMap<>();
    for (int round = -1; round < ROUNDS; round++) {
      for (Map.Entry<String, DoubleSupplier> one : work.entrySet()) {
        double time = one.getValue().getAsDouble();
        if (round >= 0) {
          times.computeIfAbsent(one.getKey(), _ -> new ArrayList<>()).add(time);
        }
      }
    }
    times.values().forEach(list -> list.sort(null));
    return times;
  }
}
