package fqt.bench;

import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;

/**
 * F32 products of ours, BLIS and OpenBLAS by turns on one thread, by the processor time that each
 * took. On a machine that is busy with other things this compares them when JMH, which runs one
 * after the other and looks at the clock, cannot.
 */
public final class SideBySide {
  private static final String[] NAMES = {"fqt", "BLIS", "OpenBLAS"};
  private static final int ROUNDS = 40;
  private static final int WARM_UP = 20;

  private SideBySide() {}

  /** Compares the shapes given, such as {@code 1024x1024x1024} or {@code 2048x1408x512t}. */
  public static void main(String[] shapes) {
    System.setProperty("fqt.threads", "1");
    Blas[] peers = {Blas.blis(1), Blas.openblas(1)};
    Backends.of(Device.CPU).describe().forEach(System.out::println);
    for (Blas peer : peers) {
      System.out.println(peer.description());
    }
    System.out.println("GFLOP/s of processor time, one thread, " + ROUNDS + " rounds by turns");
    for (String shape : shapes) {
      compare(shape, peers);
    }
  }

  private static void compare(String shape, Blas[] peers) {
    boolean transposed = shape.endsWith("t");
    int[] sizes =
        Arrays.stream(shape.replace("t", "").split("x")).mapToInt(Integer::parseInt).toArray();
    int m = sizes[0];
    int n = sizes[1];
    int k = sizes[2];
    Tensor a = GemmBench.random(1, m, k);
    Tensor b = transposed ? GemmBench.random(2, n, k) : GemmBench.random(2, k, n);
    Tensor right = transposed ? b.transpose(0, 1) : b;
    Tensor out = Ops.zeros(Device.CPU, DType.F32, m, n);
    Runnable[] libraries = {
      () -> Ops.gemmInto(1, a, right, 0, out),
      () -> peers[0].multiply(m, n, k, a.segment(), b.segment(), transposed, out.segment()),
      () -> peers[1].multiply(m, n, k, a.segment(), b.segment(), transposed, out.segment())
    };
    double[][] speeds = measure(libraries, 2e-9 * m * n * k);
    double peer = Math.max(median(speeds[1]), median(speeds[2]));
    System.out.printf("%-16s", shape);
    for (int i = 0; i < NAMES.length; i++) {
      System.out.printf(
          "  %s %.1f (best %.1f)", NAMES[i], median(speeds[i]), speeds[i][ROUNDS - 1]);
    }
    System.out.printf("  ratio to the better peer %.2f%n", median(speeds[0]) / peer);
  }

  private static double[][] measure(Runnable[] libraries, double work) {
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    double[][] speeds = new double[libraries.length][ROUNDS];
    for (int round = -WARM_UP; round < ROUNDS; round++) {
      for (int i = 0; i < libraries.length; i++) {
        long start = threads.getCurrentThreadCpuTime();
        libraries[i].run();
        double seconds = (threads.getCurrentThreadCpuTime() - start) * 1e-9;
        if (round >= 0) {
          speeds[i][round] = work / seconds;
        }
      }
    }
    for (double[] speed : speeds) {
      Arrays.sort(speed);
    }
    return speeds;
  }

  private static double median(double[] sorted) {
    return sorted[sorted.length / 2];
  }
}
