package fqt.bench;

import fqt.cuda.CudaDevices;
import fqt.io.JsonObject;
import fqt.models.CausalLm;
import fqt.models.GenerationConfig;
import fqt.models.ModelConfig;
import fqt.nn.GatedMlp;
import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.tensor.AttentionMask;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * Models on the GPU, from Java: a decoder layer of Qwen2.5-7B's shape and what it consists of, and
 * a small model's forward pass and decoding. Wall-clock times of runs of calls that end when the
 * GPU has, the median of several; without a GPU it says so and succeeds.
 */
public final class CudaModelBench {
  private static final Device GPU = Device.cuda(0);
  private static final int ROUNDS = 9;
  private static final double GEMM_RATE = 790e12;
  private static final double COPY_RATE = 4.3e12;
  private static final long TOKENS = 2048;
  private static final long HIDDEN = 3584;
  private static final long WIDTH = 18944;
  private static final long HEADS = 28;
  private static final long GROUPS = 4;
  private static final long SIZE = 128;

  private CudaModelBench() {}

  /** Prints the tables, in Markdown. */
  public static void main(String[] arguments) {
    if (CudaDevices.count() == 0) {
      System.out.println("skipped, " + CudaDevices.describe().getFirst());
      return;
    }
    System.out.println(CudaDevices.describe().getFirst());
    System.out.printf("%n| what | us | floor us | of the floor |%n|---|---|---|---|%n");
    parts();
    mixture();
    layer();
    small();
  }

  private static CausalLm model(Map<String, Object> shape) {
    Map<String, Object> entries = new LinkedHashMap<>(shape);
    entries.put("model_type", "qwen2");
    entries.put("tie_word_embeddings", true);
    entries.put("max_position_embeddings", 4096L);
    ModelConfig config = ModelConfig.of(new JsonObject(entries, "benchmark"));
    return CausalLm.of(config, new RandomQwen2(config.text()), GPU);
  }

  private static Tensor random(DType dtype, long... dims) {
    long count = 1;
    for (long dim : dims) {
      count *= dim;
    }
    float[] values = new float[Math.toIntExact(count)];
    IntStream.range(0, values.length)
        .parallel()
        .forEach(i -> values[i] = (float) Math.sin(i * 12.9898) / 8);
    return Ops.to(Ops.to(Ops.of(values, dims), dtype), GPU);
  }

  /** The operations of the layer, each with the bytes and operations that it cannot do without. */
  private static void parts() {
    try (Scope scope = Scope.open()) {
      Tensor hidden = random(DType.F32, TOKENS, HIDDEN);
      Tensor wide = random(DType.F32, TOKENS, WIDTH);
      Tensor other = random(DType.F32, TOKENS, WIDTH);
      Tensor up = random(DType.BF16, WIDTH, HIDDEN);
      Tensor down = random(DType.BF16, HIDDEN, WIDTH);
      Tensor norm = random(DType.BF16, HIDDEN);
      Tensor q = hidden.reshape(TOKENS, HEADS, SIZE);
      Tensor k = random(DType.F32, TOKENS, GROUPS, SIZE);
      Tensor angles = random(DType.F32, TOKENS, SIZE / 2);
      AttentionMask mask = AttentionMask.causal(TOKENS);
      double product = 2.0 * TOKENS * HIDDEN * WIDTH / GEMM_RATE;
      row("linear 3584 -> 18944", product, () -> Ops.linear(hidden, up, null));
      row("linear 18944 -> 3584", product, () -> Ops.linear(wide, down, null));
      row("rmsNorm", 8.0 * hidden.count() / COPY_RATE, () -> Ops.rmsNorm(hidden, norm, 1e-6f));
      row("gated", 12.0 * wide.count() / COPY_RATE, () -> Ops.gated(UnaryOp.SILU, wide, other));
      row("add", 12.0 * hidden.count() / COPY_RATE, () -> Ops.add(hidden, hidden));
      row("rotary", 8.0 * hidden.count() / COPY_RATE, () -> Ops.rotary(q, angles, angles));
      double scores = 2.0 * HEADS * TOKENS * TOKENS * SIZE;
      row("attention", scores / GEMM_RATE, () -> Ops.attention(q, k, k, 0.09f, mask));
      hessian("Hessian of 3584 inputs", hidden);
      hessian("Hessian of 18944 inputs", wide);
      Tensor one = hidden.slice(0, 0, 1);
      row("linear of one token", 2.0 * up.count() / COPY_RATE, () -> Ops.linear(one, up, null));
      row("launch", 0, () -> Ops.affine(one, 1, 0));
    }
  }

  /** What GPTQ adds up over the inputs of a linear, of which it needs one triangle. */
  private static void hessian(String title, Tensor x) {
    try (Scope scope = Scope.open()) {
      Tensor sum = Ops.zeros(GPU, DType.F32, x.dim(1), x.dim(1));
      double floor = (double) x.dim(0) * x.dim(1) * x.dim(1) / GEMM_RATE;
      row(
          title,
          floor,
          () -> {
            Ops.lowerSyrkInto(1, x, 1, sum);
            return sum;
          });
    }
  }

  /** The experts of a layer of Qwen3-30B-A3B: 128 of them, 8 a token. */
  private static void mixture() {
    long features = 2048;
    long width = 768;
    int count = 128;
    long chosen = 8;
    try (Scope scope = Scope.open()) {
      List<GatedMlp> experts = new ArrayList<>();
      Tensor weight = random(DType.BF16, width, features);
      for (int e = 0; e < count; e++) {
        Linear gate = new Linear(Ops.copy(weight), null);
        Linear up = new Linear(Ops.copy(weight), null);
        Linear down = new Linear(Ops.copy(weight.reshape(features, width)), null);
        experts.add(new GatedMlp(UnaryOp.SILU, width, gate, up, down));
      }
      Linear router = new Linear(spread(count, features), null);
      SparseMoe.Routing routing = new SparseMoe.Routing(chosen, true);
      SparseMoe moe = new SparseMoe(routing, router, experts, null, null);
      Tensor x = spread(TOKENS, features);
      double floor = 6.0 * TOKENS * chosen * features * width / GEMM_RATE;
      row("128 experts, 8 a token", floor, () -> moe.apply(x, LayerArgs.NONE));
      // An expert that is watched runs by itself, and all others with it.
      Module.Registration watch = experts.getFirst().before((m, in, args) -> {});
      row("the same, one by one", floor, () -> moe.apply(x, LayerArgs.NONE));
      watch.close();
    }
  }

  /** Normally distributed numbers, so that all experts are chosen. */
  private static Tensor spread(long... dims) {
    Random random = new Random(7);
    float[] values = new float[Math.toIntExact(dims[0] * dims[1])];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Ops.to(Ops.of(values, dims), GPU);
  }

  /** A whole layer, which is 1.3 % attention; the floor is that of its linears. */
  private static void layer() {
    try (CausalLm model =
            model(
                Map.of(
                    "hidden_size", HIDDEN,
                    "intermediate_size", WIDTH,
                    "num_hidden_layers", 1L,
                    "num_attention_heads", HEADS,
                    "num_key_value_heads", GROUPS,
                    "vocab_size", 2048L));
        Scope scope = Scope.open()) {
      Module layer = model.layers().get(0);
      Tensor hidden = random(DType.F32, TOKENS, HIDDEN);
      LayerArgs args = model.args(0, TOKENS);
      long weights = HIDDEN * (2 * HIDDEN + 2 * GROUPS * SIZE + 3 * WIDTH);
      row(
          "layer of 7B, 2048 tokens",
          2.0 * TOKENS * weights / GEMM_RATE,
          () -> layer.apply(hidden, args));
      Tensor one = hidden.slice(0, 0, 1);
      LayerArgs single = model.args(0, 1);
      row("layer of 7B, one token", 2.0 * weights / COPY_RATE, () -> layer.apply(one, single));
    }
  }

  private static void small() {
    try (CausalLm model =
            model(
                Map.of(
                    "hidden_size", 512L,
                    "intermediate_size", 1408L,
                    "num_hidden_layers", 8L,
                    "num_attention_heads", 8L,
                    "num_key_value_heads", 2L,
                    "vocab_size", 8192L));
        Scope scope = Scope.open()) {
      int sequences = 32;
      int length = 512;
      int[] ids = new int[sequences * length];
      Arrays.setAll(ids, i -> i * 31 % 8192);
      Tensor onGpu = Ops.to(Ops.of(ids, ids.length), GPU);
      long[] bounds = new long[sequences + 1];
      Arrays.setAll(bounds, i -> (long) i * length);
      LayerArgs args = model.args(bounds);
      double micros = micros(() -> model.runLayers(model.embed(onGpu), args), 3);
      System.out.printf(
          "%nlayers of a 29 M model: %.0f tokens/s (%d sequences of %d)%n",
          ids.length / micros * 1e6, sequences, length);
      int[] prompt = {1, 2, 3, 4, 5, 6, 7, 8};
      for (int round = 0; round < 3; round++) {
        long start = System.nanoTime();
        int[] tokens = model.generate(prompt, GenerationConfig.greedy(256, Set.of()), token -> {});
        System.out.printf(
            "decoding of the same: %.0f tokens/s (%d tokens)%n",
            tokens.length / ((System.nanoTime() - start) / 1e9), tokens.length);
      }
    }
  }

  private static void row(String title, double floor, Supplier<Tensor> work) {
    double micros = micros(work, 10);
    System.out.printf(
        "| %s | %.1f | %.1f | %.0f %% |%n", title, micros, floor * 1e6, 100 * floor * 1e6 / micros);
  }

  /** Microseconds a call, the median of rounds of so many calls. */
  private static double micros(Supplier<Tensor> work, int calls) {
    double[] rounds = new double[ROUNDS];
    for (int round = -2; round < ROUNDS; round++) {
      long start = System.nanoTime();
      try (Scope scope = Scope.open()) {
        Tensor last = null;
        for (int i = 0; i < calls; i++) {
          try (Scope inner = Scope.open()) {
            last = inner.keep(work.get());
          }
        }
        // Reading one element waits for everything.
        Tensor unused = Ops.to(last.reshape(-1).slice(0, 0, 1), Device.CPU);
      }
      if (round >= 0) {
        rounds[round] = (System.nanoTime() - start) / 1e3 / calls;
      }
    }
    Arrays.sort(rounds);
    return rounds[ROUNDS / 2];
  }
}
