package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Safetensors;
import fqt.io.TensorSource;
import fqt.models.CausalLm;
import fqt.models.ModelConfig;
import fqt.models.Perplexity;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.Rtn;
import fqt.quant.Scheme;
import fqt.quant.SmoothQuant;
import fqt.quant.SmoothQuantConfig;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Axis;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/**
 * Outliers as large models have them, put into a small one: a few channels of every norm are 30
 * times as large, and what reads them is a 30th. The model computes the same; a scale that all
 * activations share no longer serves it.
 */
class OutlierTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final Path MODEL = FIXTURES.resolve("tiny-qwen2");
  private static final int LENGTH = 256;
  private static final float SIZE = 30;
  private static final int CHANNELS = 4;
  private static final Pattern READER =
      Pattern.compile("(.*\\.)(?:self_attn\\.([qkv])|mlp\\.(?:gate|up))_proj\\.weight");

  /** The tensors of the model with outliers, in F32. */
  private record WithOutliers(TensorSource source, Map<String, float[]> sizes)
      implements TensorSource {
    @Override
    public Set<String> names() {
      return source.names();
    }

    @Override
    public Tensor get(String name) {
      Tensor tensor = Ops.to(source.get(name), DType.F32);
      if (name.endsWith("layernorm.weight")) {
        return Ops.multiply(tensor, factors(name));
      }
      Matcher reader = READER.matcher(name);
      if (!reader.matches()) {
        return tensor;
      }
      String norm = reader.group(2) == null ? "post_attention_layernorm" : "input_layernorm";
      return Ops.divide(tensor, factors(reader.group(1) + norm + ".weight"));
    }

    /** Thirty where a norm gives the largest values, else one. */
    private Tensor factors(String norm) {
      float[] size = sizes.get(norm);
      float[] factors = new float[size.length];
      Arrays.fill(factors, 1);
      IntStream.range(0, size.length)
          .boxed()
          .sorted(Comparator.comparingDouble(i -> -size[i]))
          .limit(CHANNELS)
          .forEach(i -> factors[i] = SIZE);
      return Ops.of(factors, factors.length);
    }
  }

  /** The largest magnitude of each channel of each norm, by the name of its weight. */
  private static Map<String, float[]> sizes() {
    Map<String, float[]> sizes = new HashMap<>();
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(MODEL, Device.CPU);
        Safetensors text = Safetensors.open(FIXTURES.resolve("calib_ids.safetensors"))) {
      for (int i = 0; i < model.layers().size(); i++) {
        for (String norm : List.of("input_layernorm", "post_attention_layernorm")) {
          String name = model.layerPrefix(i) + "." + norm + ".weight";
          Module module = model.layers().get(i).find(norm);
          module.after(
              (ran, input, args, output) ->
                  sizes.put(name, Ops.reduce(ReduceOp.MAX_ABS, Axis.COLUMNS, output).toFloats()));
        }
      }
      Tensor ids = Ops.to(text.get("ids"), DType.I32).reshape(-1).slice(0, 0, 1024);
      model.forward(ids.reshape(1, -1));
    }
    return sizes;
  }

  private static double perplexity(boolean outliers, Consumer<CausalLm> change) {
    try (Scope scope = Scope.open();
        Safetensors tensors = Safetensors.open(MODEL);
        Safetensors text = Safetensors.open(FIXTURES.resolve("eval_ids.safetensors"));
        CausalLm model =
            CausalLm.of(
                ModelConfig.read(MODEL),
                outliers ? new WithOutliers(tensors, sizes()) : tensors,
                Device.CPU)) {
      change.accept(model);
      Tensor ids = Ops.to(text.get("ids"), DType.I32).reshape(-1).slice(0, 0, 16L * LENGTH);
      return Perplexity.of(model, ids, LENGTH).value();
    }
  }

  private static void smooth(CausalLm model, SmoothQuantConfig config) {
    try (Safetensors text = Safetensors.open(FIXTURES.resolve("calib_ids.safetensors"));
        CalibrationInputs inputs = new CalibrationInputs(Device.CPU)) {
      Tensor ids = Ops.to(text.get("ids"), DType.I32).reshape(-1);
      LayerArgs args = model.args(0, LENGTH);
      for (long i = 0; i < 16; i++) {
        inputs.add(model.embed(ids.slice(0, i * LENGTH, (i + 1) * LENGTH)), args);
      }
      SmoothQuant.quantize(model.layers(), inputs, config);
    }
  }

  @Test
  void smoothQuantRecoversWhatOutliersCost() {
    Scheme w8a8 = Scheme.w8a8Int8();
    LinearRules<Scheme> rules =
        LinearRules.all(w8a8.withActivations(w8a8.activations().withBlocks(Blocks.PER_TENSOR)));
    double exact = perplexity(false, model -> {});
    double same = perplexity(true, model -> {});
    double rounded = perplexity(true, model -> Rtn.quantize(model.layers(), rules));
    SmoothQuantConfig config = SmoothQuantConfig.smoothQuant().withRules(rules);
    double smoothed = perplexity(true, model -> smooth(model, config));
    String all = "%s, rounded %s, smoothed %s".formatted(same, rounded, smoothed);
    assertEquals(exact, same, 1e-5 * exact, "the outliers changed what the model computes");
    assertTrue(rounded > 1.01 * same, "the outliers cost too little: " + all);
    assertTrue(rounded - smoothed >= 0.9 * (rounded - same), all);
  }
}
