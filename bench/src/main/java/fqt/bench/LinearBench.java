package fqt.bench;

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
 * Linear layers of real sizes with their weights in each form, from one token to many, ours and the
 * native libraries'. {@link LinearTable} runs a choice of these and prints it as a table.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 5,
    jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class LinearBench {
  /** Tokens. */
  @Param({"1", "16", "128", "512", "2048"})
  public int tokens;

  /** Outputs and inputs. */
  @Param({"4864x896", "896x4864", "3584x3584", "8960x1536", "18944x3584", "1023x1025"})
  public String layer;

  /**
   * What the weight is stored as, and x too; {@code s8} multiplies integers, x is BF16 with {@code
   * int4} and F32 with {@code int4-f32}.
   */
  @Param({"f32", "bf16", "s8", "int4", "int4-f32"})
  public String weight;

  /** Threads. */
  @Param({"1", "2"})
  public int threads;

  /** Whose product. */
  @Param({"fqt", "onednn", "openblas"})
  public String library;

  private CpuWork layerWork;
  private long operations;

  /** Makes the operands. */
  @Setup
  public void prepare() {
    String[] sizes = layer.split("x");
    int n = Integer.parseInt(sizes[0]);
    int k = Integer.parseInt(sizes[1]);
    if (!CpuWork.exists(library, weight)) {
      throw new IllegalArgumentException(library + " has no " + weight + " product here");
    }
    layerWork = new CpuWork(library, weight, tokens, n, k, threads);
    operations = 2L * tokens * n * k;
  }

  /** One layer. */
  @Benchmark
  public void linear(Work work) {
    work.megaflop += operations / 1_000_000;
    work.megabyte += layerWork.weightBytes() / 1_000_000;
    layerWork.run();
  }
}
