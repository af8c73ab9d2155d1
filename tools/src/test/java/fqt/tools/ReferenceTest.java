package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Json;
import fqt.io.Safetensors;
import fqt.models.CausalLm;
import fqt.models.Perplexity;
import fqt.quant.CalibrationInputs;
import fqt.quant.Gptq;
import fqt.quant.GptqConfig;
import fqt.quant.Rtn;
import fqt.quant.Scheme;
import fqt.quant.format.GptqFormat;
import fqt.quant.rules.LinearRules;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The whole way, from a checkpoint to a perplexity, against the reference implementation. */
class ReferenceTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final Path MODEL = FIXTURES.resolve("tiny-qwen2");
  private static final int LENGTH = 256;

  @TempDir Path folder;

  /** Tolerances are those that the reference allows for another order of summation. */
  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "4; NONE; (4, 128, 'rtn'); 0.002",
        "3; NONE; (3, 128, 'rtn'); 0.005",
        "2; NONE; (2, 128, 'rtn'); 0.03",
        "4; GPTQ; (4, 128, 'gptq', False); 0.002",
        "4; GPTQ_ACT_ORDER; (4, 128, 'gptq', True); 0.002",
        "3; GPTQ; (3, 128, 'gptq'); 0.005",
        "3; GPTQ_ACT_ORDER; (3, 128, 'gptq', True); 0.005",
        "2; GPTQ; (2, 128, 'gptq'); 0.03"
      })
  void perplexityIsThatOfTheReferenceOrBetter(
      int bits, String method, String key, double tolerance) {
    double reference =
        Json.readObject(FIXTURES.resolve("reference.json"))
            .getObject("tiny-qwen2 " + key)
            .getDouble("ppl");
    Scheme scheme = Scheme.weightOnly(bits, 128);
    try (Scope scope = Scope.open();
        CausalLm model = CausalLm.load(MODEL, Device.CPU)) {
      if (method.equals("NONE")) {
        Rtn.quantize(model.layers(), LinearRules.all(scheme));
      } else {
        GptqConfig.ActOrder order =
            method.equals("GPTQ") ? GptqConfig.ActOrder.NONE : GptqConfig.ActOrder.STATIC;
        gptq(model, GptqConfig.defaults().withOrder(order).withScheme(scheme));
      }
      double perplexity = perplexity(model);
      assertTrue(
          perplexity < reference * (1 + tolerance),
          "perplexity " + perplexity + ", the reference's is " + reference);
      assertTrue(perplexity > 1.783, "perplexity " + perplexity + " is better than unquantized");
    }
  }

  /** What was evaluated, what was written and what is read back are the same weights. */
  @Test
  void readBackLogitsEqualThoseInMemoryBitForBit() {
    Path out = folder.resolve("out");
    CommandRun run =
        CommandRun.of(
            "quantize",
            MODEL.toString(),
            "--out",
            out.toString(),
            "--calib",
            FIXTURES.resolve("calib_ids.safetensors").toString(),
            "--samples",
            "8");
    assertEquals(0, run.code(), run.err());
    try (Scope scope = Scope.open();
        CausalLm inMemory = CausalLm.load(MODEL, Device.CPU);
        CausalLm readBack = CausalLm.load(out, Device.CPU);
        CalibrationInputs inputs = calibration(inMemory, 8)) {
      Scheme scheme = new GptqFormat().prepare(Scheme.weightOnly(4, 128), DType.BF16);
      Gptq.quantize(inMemory.layers(), inputs, GptqConfig.defaults().withScheme(scheme));
      Tensor ids = ids("eval_ids").slice(0, 0, 96).reshape(2, 48);
      assertArrayEquals(inMemory.forward(ids).toFloats(), readBack.forward(ids).toFloats());
    }
  }

  private static void gptq(CausalLm model, GptqConfig config) {
    try (CalibrationInputs inputs = calibration(model, 64)) {
      Gptq.quantize(model.layers(), inputs, config);
    }
  }

  private static CalibrationInputs calibration(CausalLm model, int samples) {
    CalibrationInputs inputs = new CalibrationInputs(Device.CPU);
    try (Scope scope = Scope.open()) {
      Tensor ids = ids("calib_ids");
      for (int i = 0; i < samples; i++) {
        inputs.add(model.embed(ids.select(0, i)), model.args(0, ids.dim(1)));
      }
    }
    return inputs;
  }

  private static double perplexity(CausalLm model) {
    try (Scope scope = Scope.open()) {
      return Perplexity.of(model, ids("eval_ids"), LENGTH).value();
    }
  }

  /** A copy that outlives the file. */
  private static Tensor ids(String name) {
    try (Safetensors file = Safetensors.open(FIXTURES.resolve(name + ".safetensors"))) {
      return Ops.copy(file.get("ids"));
    }
  }
}
