package fqt.bench;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;
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

/** Linear layers of real sizes with their weights in each form, from one token to many. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 5,
    jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class LinearBench {
  private static final long GROUP = 128;

  /** Tokens. */
  @Param({"1", "16", "128", "512"})
  public int tokens;

  /** Outputs and inputs. */
  @Param({"4864x896", "896x4864", "3584x3584"})
  public String layer;

  /** What the weight is stored as; {@code int8} multiplies integers. */
  @Param({"f32", "bf16", "int8", "int4"})
  public String weight;

  /** Threads. */
  @Param({"1", "2"})
  public int threads;

  private Tensor x;
  private Tensor w;
  private Tensor xScale;
  private Tensor wScale;
  private PackedWeight packed;

  /** Makes the operands. */
  @Setup
  public void prepare() {
    System.setProperty("fqt.threads", Integer.toString(threads));
    String[] sizes = layer.split("x");
    int n = Integer.parseInt(sizes[0]);
    int k = Integer.parseInt(sizes[1]);
    x = GemmBench.random(1, tokens, k);
    w = GemmBench.random(2, n, k);
    switch (weight) {
      case "f32" -> {}
      case "bf16" -> w = Ops.to(w, DType.BF16);
      case "int8" -> {
        xScale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, tokens);
        wScale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, n);
        x = Ops.to(Ops.affine(x, 127, 0), DType.I8);
        w = Ops.to(Ops.affine(w, 127, 0), DType.I8);
      }
      case "int4" -> {
        Tensor codes = Ops.full(Device.CPU, DType.I32, 0x12345678, n, k / 8);
        Tensor scales = Ops.full(Device.CPU, DType.F16, 0.125, n, k / GROUP);
        packed = new PackedWeight(4, k, GROUP, codes, scales, null, null);
      }
      default -> throw new IllegalArgumentException("no weight '" + weight + "'");
    }
  }

  /** One layer. */
  @Benchmark
  public Tensor linear(Work work) {
    work.megaflop += 2L * tokens * w.dim(0) * w.dim(1) / 1_000_000;
    work.megabyte += (packed == null ? w.byteSize() : packed.byteSize()) / 1_000_000;
    try (fqt.tensor.Scope results = fqt.tensor.Scope.open()) {
      return multiply();
    }
  }

  private Tensor multiply() {
    if (packed != null) {
      return Ops.packedLinear(x, packed, null);
    }
    return xScale == null ? Ops.linear(x, w, null) : Ops.int8Linear(x, xScale, w, wScale, null);
  }
}
