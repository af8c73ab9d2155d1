import fqt.io.Safetensors;
import fqt.models.CausalLm;
import fqt.models.Perplexity;
import fqt.quant.CalibrationInputs;
import fqt.quant.Gptq;
import fqt.quant.GptqConfig;
import fqt.quant.Scheme;
import fqt.tensor.Device;
import fqt.tensor.Tensor;
import java.nio.file.Path;

/** Arguments: checkpoint, token ids [samples, tokens] to calibrate with, token ids to test with. */
class QuantizeMoe {
  public static void main(String[] arguments) {
    try (CausalLm model = CausalLm.load(Path.of(arguments[0]), Device.CPU);
        Safetensors calibration = Safetensors.open(Path.of(arguments[1]));
        Safetensors test = Safetensors.open(Path.of(arguments[2]));
        CalibrationInputs inputs = new CalibrationInputs(Device.CPU)) {
      System.out.println("before: " + Perplexity.of(model, test.get("ids"), 256).value());
      Tensor samples = calibration.get("ids");
      for (long i = 0; i < samples.dim(0); i++) {
        inputs.add(model.embed(samples.select(0, i)), model.args(0, samples.dim(1)));
      }
      // Every expert learns from every token; routers and gates stay in 16 bits.
      Gptq.quantize(
          model.layers(), inputs, GptqConfig.defaults().withScheme(Scheme.weightOnly(4, 64)));
      System.out.println("after: " + Perplexity.of(model, test.get("ids"), 256).value());
    }
  }
}
