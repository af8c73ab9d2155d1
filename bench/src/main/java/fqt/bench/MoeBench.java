package fqt.bench;

import fqt.nn.GatedMlp;
import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.SparseMoe;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;
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
 * A mixture of experts over 4096 tokens. The time should double with the experts a token chooses
 * and hardly change with the number of experts there are, while each still gets enough tokens to be
 * worth reading its weights: with a dozen tokens an expert, memory decides.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(
    value = 3,
    jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class MoeBench {
  private static final int TOKENS = 4096;
  private static final int FEATURES = 256;
  private static final int WIDTH = 512;

  /** How many experts there are. */
  @Param({"8", "32"})
  public int experts;

  /** How many of them a token chooses. */
  @Param({"1", "2", "4"})
  public int topK;

  private final Random random = new Random(1);
  private SparseMoe moe;
  private Tensor input;

  /** Makes the experts and the tokens. */
  @Setup
  public void prepare() {
    List<GatedMlp> all = new ArrayList<>();
    for (int e = 0; e < experts; e++) {
      all.add(
          new GatedMlp(
              UnaryOp.SILU,
              WIDTH,
              linear(FEATURES, WIDTH),
              linear(FEATURES, WIDTH),
              linear(WIDTH, FEATURES)));
    }
    moe =
        new SparseMoe(
            new SparseMoe.Routing(topK, true), linear(FEATURES, experts), all, null, null);
    input = matrix(TOKENS, FEATURES);
  }

  private Linear linear(int inputs, int outputs) {
    return new Linear(matrix(outputs, inputs), null);
  }

  private Tensor matrix(int rows, int columns) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() / 16;
    }
    return Ops.of(values, rows, columns);
  }

  /** All tokens through the block. */
  @Benchmark
  public float block() {
    try (fqt.tensor.Scope scope = fqt.tensor.Scope.open()) {
      return (float) moe.apply(input, LayerArgs.NONE).get(0, 0);
    }
  }
}
