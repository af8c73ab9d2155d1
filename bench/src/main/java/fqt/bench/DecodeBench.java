package fqt.bench;

import fqt.io.JsonObject;
import fqt.models.CausalLm;
import fqt.models.GenerationConfig;
import fqt.models.ModelConfig;
import fqt.tensor.Device;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** Tokens a second of greedy decoding with a 29 M-parameter Qwen2, BF16 weights, batch of one. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(
    value = 3,
    jvmArgsAppend = {"--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public class DecodeBench {
  private static final int NEW_TOKENS = 64;
  private static final Map<String, Object> CONFIG =
      Map.of(
          "model_type", "qwen2",
          "hidden_size", 512L,
          "intermediate_size", 1408L,
          "num_hidden_layers", 8L,
          "num_attention_heads", 8L,
          "num_key_value_heads", 2L,
          "vocab_size", 8192L,
          "tie_word_embeddings", true);

  private CausalLm model;

  /** Makes a model of random weights. */
  @Setup
  public void prepare() {
    ModelConfig config = ModelConfig.of(new JsonObject(CONFIG, "benchmark"));
    model = CausalLm.of(config, new RandomQwen2(config.text()), Device.CPU);
  }

  /** A prompt of 8 tokens continued. */
  @Benchmark
  @OperationsPerInvocation(NEW_TOKENS)
  public int[] decode() {
    int[] prompt = {1, 2, 3, 4, 5, 6, 7, 8};
    return model.generate(prompt, GenerationConfig.greedy(NEW_TOKENS, Set.of()), token -> {});
  }
}
