import fqt.io.Safetensors;
import fqt.models.CausalLm;
import fqt.models.Perplexity;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.CalibrationInputs;
import fqt.quant.Gptq;
import fqt.quant.GptqConfig;
import fqt.quant.LayerForwardManager;
import fqt.quant.Rtn;
import fqt.quant.Scheme;
import fqt.quant.SmoothQuant;
import fqt.quant.SmoothQuantConfig;
import fqt.quant.report.QuantListener;
import fqt.quant.rules.LinearRules;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Prints the table of results in the README: perplexity on the fixtures' evaluation text, and the
 * bytes of all tensors, of a dense model and a mixture of experts under every method.
 *
 * <p>Weights are symmetric in groups of 128 with BF16 scales, as compressed-tensors stores them;
 * activations are quantized token by token. All methods calibrate on the same 64 windows.
 */
final class ResultsTable {
  private static final int LENGTH = 256;

  private enum Method {
    RTN("RTN"),
    GPTQ("GPTQ"),
    AWQ("AWQ"),
    AWQ_GPTQ("AWQ + GPTQ"),
    SMOOTHQUANT("SmoothQuant");

    private final String title;

    Method(String title) {
      this.title = title;
    }
  }

  private record Result(double perplexity, long bytes) {}

  private record Row(Method method, String scheme) {}

  private static final List<Row> ROWS =
      List.of(
          new Row(Method.RTN, "w4a16"),
          new Row(Method.GPTQ, "w4a16"),
          new Row(Method.AWQ, "w4a16"),
          new Row(Method.AWQ_GPTQ, "w4a16"),
          new Row(Method.RTN, "w3a16"),
          new Row(Method.GPTQ, "w3a16"),
          new Row(Method.AWQ, "w3a16"),
          new Row(Method.AWQ_GPTQ, "w3a16"),
          new Row(Method.RTN, "w8a8-int8"),
          new Row(Method.SMOOTHQUANT, "w8a8-int8"),
          new Row(Method.RTN, "w8a8-fp8"),
          new Row(Method.SMOOTHQUANT, "w8a8-fp8"));

  private static final List<String> MODELS = List.of("tiny-qwen2", "tiny-qwen3moe");

  private ResultsTable() {}

  public static void main(String[] arguments) {
    Path fixtures = Path.of(arguments[0]);
    System.out.println(
        "| method | scheme | " + String.join(" | tensors | ", MODELS) + " | tensors |");
    System.out.println("|---|---|---:|---:|---:|---:|");
    print(fixtures, "full precision", "bf16", null);
    for (Row row : ROWS) {
      print(fixtures, row.method().title, row.scheme(), row.method());
    }
  }

  private static void print(Path fixtures, String title, String scheme, Method method) {
    StringBuilder line = new StringBuilder("| %s | %s |".formatted(title, scheme));
    for (String model : MODELS) {
      Result result = measure(fixtures, model, scheme, method);
      line.append(
          String.format(
              Locale.ROOT, " %.4f | %.0f KiB |", result.perplexity(), result.bytes() / 1024.0));
    }
    System.out.println(line);
  }

  private static Result measure(Path fixtures, String name, String scheme, Method method) {
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(fixtures.resolve(name), Device.CPU);
        Safetensors text = Safetensors.open(fixtures.resolve("eval_ids.safetensors"))) {
      if (method != null) {
        quantize(fixtures, model, method, LinearRules.all(scheme(scheme)));
      }
      Tensor ids = Ops.to(text.get("ids"), DType.I32).reshape(-1);
      return new Result(Perplexity.of(model, ids, LENGTH).value(), bytes(model));
    }
  }

  private static Scheme scheme(String name) {
    Scheme scheme = Scheme.parse(name, 128);
    return scheme.activations() == null
        ? scheme.withWeights(scheme.weights().withScaleType(DType.BF16))
        : scheme;
  }

  private static void quantize(
      Path fixtures, CausalLm model, Method method, LinearRules<Scheme> rules) {
    try (CalibrationInputs inputs = new CalibrationInputs(Device.CPU);
        Safetensors text = Safetensors.open(fixtures.resolve("calib_ids.safetensors"))) {
      Tensor windows = Ops.to(text.get("ids"), DType.I32);
      LayerArgs args = model.args(0, windows.dim(1));
      for (long i = 0; i < windows.dim(0); i++) {
        inputs.add(model.embed(windows.slice(0, i, i + 1).reshape(-1)), args);
      }
      GptqConfig gptq = GptqConfig.defaults().withRules(rules);
      SmoothQuantConfig awq = SmoothQuantConfig.awq().withRules(rules);
      switch (method) {
        case RTN -> Rtn.quantize(model.layers(), rules);
        case GPTQ -> Gptq.quantize(model.layers(), inputs, gptq);
        case AWQ -> SmoothQuant.quantize(model.layers(), inputs, awq);
        case AWQ_GPTQ -> both(model, inputs, awq, gptq);
        case SMOOTHQUANT ->
            SmoothQuant.quantize(
                model.layers(), inputs, SmoothQuantConfig.smoothQuant().withRules(rules));
      }
    }
  }

  private static void both(
      CausalLm model, CalibrationInputs inputs, SmoothQuantConfig awq, GptqConfig gptq) {
    LayerForwardManager forward = new LayerForwardManager(inputs);
    SmoothQuant smoothing = new SmoothQuant(awq.withClip(false), QuantListener.NONE);
    Gptq rounding = new Gptq(gptq, QuantListener.NONE);
    for (int i = 0; i < model.layers().size(); i++) {
      Module layer = model.layers().get(i);
      smoothing.smoothLayer(model.layerPrefix(i), layer, forward);
      rounding.quantizeLayer(model.layerPrefix(i), layer, forward);
      forward.advance(layer);
    }
  }

  private static long bytes(CausalLm model) {
    long[] sum = new long[1];
    add(model.embedding(), sum);
    add(model.norm(), sum);
    if (!model.config().text().tied()) {
      add(model.head(), sum);
    }
    model.layers().forEach(layer -> add(layer, sum));
    return sum[0];
  }

  private static void add(Module module, long[] sum) {
    module.visit(
        (path, part) -> part.parameters().values().forEach(tensor -> sum[0] += tensor.byteSize()));
  }
}
