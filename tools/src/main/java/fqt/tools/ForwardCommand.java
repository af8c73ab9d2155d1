package fqt.tools;

import fqt.io.FileFormatException;
import fqt.io.Safetensors;
import fqt.io.SafetensorsWriter;
import fqt.models.CausalLm;
import fqt.models.Pictures;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code fqt forward}: one pass through a model, every hidden state written down. */
@Command(
    name = "forward",
    description = {
      "Runs a model once and writes logits and hidden states.",
      "hidden_states.0 stands before the first layer, hidden_states.N after layer N, the last one"
          + " after the final norm."
    })
final class ForwardCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @Option(
      names = "--inputs",
      required = true,
      paramLabel = "FILE",
      description =
          "safetensors with input_ids, integers [sequences, tokens]; for a text with pictures also"
              + " pixel_values and image_grid_thw.")
  private Path inputs;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description =
          "safetensors to write: logits and hidden_states.N, with pictures also vision.output, F32.")
  private Path out;

  @Override
  public Integer call() {
    try (CausalLm lm = model.load();
        Safetensors file = Safetensors.open(inputs);
        Scope scope = Scope.open()) {
      Tensor ids = ids(file.get("input_ids"), lm.config().text().vocabulary());
      Pictures pictures = pictures(file);
      CausalLm.Output output = lm.forward(Ops.to(ids, lm.device()), pictures, true);
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      if (pictures != null) {
        tensors.put("vision.output", lm.vision().forward(pictures.to(lm.device())));
      }
      tensors.put("logits", output.logits());
      List<Tensor> states = output.hiddenStates();
      for (int i = 0; i < states.size(); i++) {
        tensors.put("hidden_states." + i, states.get(i));
      }
      SafetensorsWriter.writeFile(out, tensors, Map.of());
    }
    return 0;
  }

  /** The pictures of the input, or null. */
  private Pictures pictures(Safetensors file) {
    if (!file.has("pixel_values")) {
      return null;
    }
    Tensor grid = file.get("image_grid_thw");
    if (grid.dtype().isFloat()) {
      throw new FileFormatException(
          "%s: tensor 'image_grid_thw' is %s; expected integers [pictures, 3]"
              .formatted(inputs, grid));
    }
    return Pictures.of(Ops.to(file.get("pixel_values"), DType.F32), grid);
  }

  /** I32 [sequences, tokens]. */
  private Tensor ids(Tensor stored, long vocabulary) {
    if (stored.dtype().isFloat() || stored.rank() < 1 || stored.rank() > 2) {
      throw new FileFormatException(
          "%s: tensor 'input_ids' is %s; expected integers [sequences, tokens]"
              .formatted(inputs, stored));
    }
    for (long id : stored.toLongs()) {
      if (id < 0 || id >= vocabulary) {
        throw new FileFormatException(
            "%s: input_ids holds %d; the model knows ids 0 to %d"
                .formatted(inputs, id, vocabulary - 1));
      }
    }
    Tensor ids = Ops.to(stored, DType.I32);
    return ids.rank() == 2 ? ids : ids.reshape(1, -1);
  }
}
