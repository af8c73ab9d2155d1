import fqt.models.*;
import fqt.models.tokenizer.Tokenizer;
import fqt.quant.*;
import fqt.tensor.Device;
import java.nio.file.Path;

/** Quantizes a model on texts that it writes itself. Arguments: checkpoint, folder, two prompts. */
class CompressQwen {
  public static void main(String[] arguments) {
    Path checkpoint = Path.of(arguments[0]);
    Path folder = Path.of(arguments[1]);
    Tokenizer tokenizer = Tokenizer.load(checkpoint);
    GenerationConfig config = GenerationConfig.load(checkpoint).withMaxNewTokens(32);
    try (CausalLm model = CausalLm.load(checkpoint, Device.CPU)) {
      try (DataRecorder recorder = new DataRecorder()) {
        recorder.input(DataRecorder.INPUT, model.layers().getFirst());
        recorder.positions(model.layers().getFirst());
        for (int i = 2; i < arguments.length; i++) {
          model.generate(tokenizer.encode(arguments[i]), config, token -> {});
          recorder.save(folder.resolve(i + ".safetensors"));
          recorder.clear();
        }
      }
      CalibrationInputs texts = CalibrationDataset.load(folder).sample(2, 0, Device.CPU);
      Gptq.quantize(model.layers(), texts, GptqConfig.defaults());
      int[] prompt = tokenizer.encode(arguments[2]);
      System.out.println(tokenizer.decode(model.generate(prompt, config, token -> {})));
    }
  }
}
