package fqt.bench;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * F32 matrix products, ours and the native libraries'. Ten forks, because a kernel that C2 compiles
 * badly is slow for the whole life of a JVM: the slowest fork counts.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 10,
    jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class GemmBench {
  /** Rows, columns and terms, and {@code t} where the right side is stored transposed. */
  @Param({"1024x1024x1024", "2048x1408x512", "2048x1408x512t"})
  public String shape;

  /** How many threads each library may use. */
  @Param({"1", "2"})
  public int threads;

  /** Whose product. */
  @Param({"fqt", "blis", "openblas"})
  public String library;

  private int m;
  private int n;
  private int k;
  private boolean transposed;
  private Tensor a;
  private Tensor b;
  private Tensor out;
  private Blas blas;

  /** Makes the operands and sets the library to its number of threads. */
  @Setup
  public void prepare() {
    transposed = shape.endsWith("t");
    String[] sizes = shape.replace("t", "").split("x");
    m = Integer.parseInt(sizes[0]);
    n = Integer.parseInt(sizes[1]);
    k = Integer.parseInt(sizes[2]);
    System.setProperty("fqt.threads", Integer.toString(threads));
    a = random(1, m, k);
    b = transposed ? random(2, n, k) : random(2, k, n);
    out = Ops.zeros(Device.CPU, DType.F32, m, n);
    blas =
        switch (library) {
          case "fqt" -> null;
          case "blis" -> Blas.blis(threads);
          case "openblas" -> Blas.openblas(threads);
          default -> throw new IllegalArgumentException("no library '" + library + "'");
        };
    if (blas != null) {
      System.out.println("# " + blas.description());
    }
  }

  /** One product. */
  @Benchmark
  public void multiply(Work work) {
    if (blas == null) {
      Ops.gemmInto(1, a, transposed ? b.transpose(0, 1) : b, 0, out);
    } else {
      blas.multiply(m, n, k, a.segment(), b.segment(), transposed, out.segment());
    }
    work.megaflop += 2L * m * n * k / 1_000_000;
    work.megabyte += 4L * ((long) m * k + (long) n * k) / 1_000_000;
  }

  static Tensor random(long seed, long rows, long columns) {
    Random random = new Random(seed);
    float[] values = new float[Math.toIntExact(rows * columns)];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextFloat() * 2 - 1;
    }
    return Ops.of(values, rows, columns);
  }
}
