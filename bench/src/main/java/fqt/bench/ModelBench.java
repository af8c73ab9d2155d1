package fqt.bench;

import fqt.io.JsonObject;
import fqt.models.CausalLm;
import fqt.models.GenerationConfig;
import fqt.models.ModelConfig;
import fqt.nn.LayerArgs;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.Scheme;
import fqt.tensor.Backends;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/**
 * Whole jobs on the CPU, by turns: {@code fqt.bench.ModelBench [HIDDEN WIDTH LAYERS [ROUNDS]]}.
 * First a forward pass of calibration, 512 tokens through all layers of a random Qwen2, beside its
 * linears alone; then greedy decoding with weights of each form, beside the linears of one token.
 * Without arguments the model has 27 M parameters.
 */
public final class ModelBench {
  private static final int TOKENS = 512;
  private static final int NEW_TOKENS = 32;

  /** Rounds of decoding before those that count: compilers work for the first seconds of it. */
  private static final int WARM_UP = 24;

  private ModelBench() {}

  /** Prints both tables. */
  public static void main(String[] arguments) {
    long hidden = arguments.length > 0 ? Long.parseLong(arguments[0]) : 512;
    long width = arguments.length > 1 ? Long.parseLong(arguments[1]) : 1408;
    long layers = arguments.length > 2 ? Long.parseLong(arguments[2]) : 8;
    int rounds = arguments.length > 3 ? Integer.parseInt(arguments[3]) : 9;
    Backends.of(Device.CPU).describe().forEach(System.out::println);
    Map<String, CausalLm> models = new LinkedHashMap<>();
    for (String form : List.of("f32", "bf16", "int8", "int4")) {
      models.put(form, model(hidden, width, layers, form));
    }
    forward(models, rounds);
    generation(models, rounds);
  }

  private static CausalLm model(long hidden, long width, long layers, String form) {
    Map<String, Object> config =
        Map.of(
            "model_type",
            "qwen2",
            "hidden_size",
            hidden,
            "intermediate_size",
            width,
            "num_hidden_layers",
            layers,
            "num_attention_heads",
            hidden / 64,
            "num_key_value_heads",
            2L,
            "vocab_size",
            8192L,
            "tie_word_embeddings",
            true);
    ModelConfig parsed = ModelConfig.of(new JsonObject(config, "benchmark"));
    CausalLm model = CausalLm.of(parsed, new RandomQwen2(parsed.text()), Device.CPU);
    Function<Linear, Module> replace =
        switch (form) {
          case "f32" -> linear -> new Linear(Ops.to(linear.weight(), DType.F32), linear.bias());
          case "int8" -> Scheme.w8a8Int8()::quantize;
          case "int4" -> Scheme.weightOnly(4, 128)::quantize;
          default -> linear -> linear;
        };
    model.layers().forEach(layer -> Linear.replaceLinears(layer, replace, (_, _) -> true));
    model.layers().forEach(Module::freeze);
    return model;
  }

  private static void forward(Map<String, CausalLm> models, int rounds) {
    CausalLm f32 = models.get("f32");
    long width = f32.config().text().hidden();
    LayerArgs args = f32.args(0, TOKENS);
    Tensor input = GemmBench.random(1, TOKENS, width);
    Map<String, Runnable> work = new LinkedHashMap<>();
    models.forEach((form, model) -> work.put(form, () -> model.runLayers(input, args)));
    double operations = 2e-9 * TOKENS * linearWeights(f32);
    work.put("linears alone", linears(f32, f32, TOKENS));
    Map<String, Double> times = medians(work, rounds / 3, rounds);
    System.out.printf("%nforward, %d tokens: %.2f Gop in the linears%n", TOKENS, operations);
    System.out.println("| weights | ms | Gop/s of linears | of linears alone |\n|---|---|---|---|");
    double alone = times.get("linears alone");
    for (Map.Entry<String, Double> one : times.entrySet()) {
      double time = one.getValue();
      System.out.printf(
          "| %s | %.1f | %.1f | %.2f |%n",
          one.getKey(), time * 1e3, operations / time, alone / time);
    }
  }

  private static void generation(Map<String, CausalLm> models, int rounds) {
    int[] prompt = {1, 2, 3, 4, 5, 6, 7, 8};
    GenerationConfig greedy = GenerationConfig.greedy(NEW_TOKENS, Set.of());
    Map<String, Runnable> work = new LinkedHashMap<>();
    models.forEach(
        (form, model) -> {
          work.put(form, () -> model.generate(prompt, greedy, token -> {}));
          work.put(form + " linears", linears(models.get("f32"), model, 1));
        });
    Map<String, Double> times = medians(work, WARM_UP, rounds);
    System.out.println(
        "\ngreedy decoding\n| weights | tokens/s | to f32 | linears alone, ms a token | to f32 |"
            + "\n|---|---|---|---|---|");
    for (String form : models.keySet()) {
      double linears = times.get(form + " linears");
      System.out.printf(
          "| %s | %.1f | %.2f | %.2f | %.2f |%n",
          form,
          NEW_TOKENS / times.get(form),
          times.get("f32") / times.get(form),
          linears * 1e3,
          times.get("f32 linears") / linears);
    }
  }

  /** Elements of the weights of all linears in the layers of an unquantized model. */
  private static double linearWeights(CausalLm model) {
    double[] count = {0};
    model
        .layers()
        .forEach(
            layer ->
                layer.visit(
                    (_, module) ->
                        count[0] +=
                            module instanceof Linear linear ? linear.weight().count() : 0.0));
    return count[0];
  }

  /** Runs what stands in a model where an unquantized one has linears, one after the other. */
  private static Runnable linears(CausalLm unquantized, CausalLm model, int tokens) {
    Map<Long, Tensor> inputs = new LinkedHashMap<>();
    Map<Module, Tensor> calls = new LinkedHashMap<>();
    for (int i = 0; i < model.layers().size(); i++) {
      Module layer = model.layers().get(i);
      unquantized
          .layers()
          .get(i)
          .visit(
              (path, module) -> {
                if (module instanceof Linear linear) {
                  long k = linear.weight().dim(1);
                  inputs.computeIfAbsent(k, _ -> GemmBench.random(2, tokens, k));
                  calls.put(layer.place(path).get(), inputs.get(k));
                }
              });
    }
    return () ->
        calls.forEach(
            (linear, input) -> {
              try (Scope scope = Scope.open()) {
                linear.apply(input, LayerArgs.NONE);
              }
            });
  }

  /** Seconds of each, by turns, in the rounds that follow those to warm up. */
  private static Map<String, Double> medians(Map<String, Runnable> work, int warmUp, int rounds) {
    Map<String, double[]> times = new LinkedHashMap<>();
    for (int round = -warmUp; round < rounds; round++) {
      for (Map.Entry<String, Runnable> one : work.entrySet()) {
        long start = System.nanoTime();
        try (Scope results = Scope.open()) {
          one.getValue().run();
        }
        if (round >= 0) {
          double[] all = times.computeIfAbsent(one.getKey(), _ -> new double[rounds]);
          all[round] = (System.nanoTime() - start) * 1e-9;
        }
      }
    }
    Map<String, Double> medians = new LinkedHashMap<>();
    times.forEach(
        (name, all) -> {
          Arrays.sort(all);
          medians.put(name, all[all.length / 2]);
        });
    return medians;
  }
}
