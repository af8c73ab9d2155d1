package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Io;
import fqt.io.Safetensors;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The commands on a checkpoint in PyTorch's format, beside the same one in safetensors. */
class TorchCommandsTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final Path MODEL = FIXTURES.resolve("tiny-qwen2");

  @TempDir Path folder;

  @BeforeEach
  void write() throws IOException {
    try (Safetensors file = Safetensors.open(MODEL)) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      file.names().forEach(name -> tensors.put(name, file.get(name)));
      Io.dump(tensors, folder.resolve("pytorch_model.bin"));
    }
    for (String name : List.of("config.json", "tokenizer.json", "generation_config.json")) {
      Files.copy(MODEL.resolve(name), folder.resolve(name));
    }
  }

  private static String out(Object... arguments) {
    String[] line = new String[arguments.length];
    for (int i = 0; i < line.length; i++) {
      line[i] = arguments[i].toString();
    }
    CommandRun run = CommandRun.of(line);
    assertEquals(0, run.code(), run.err());
    return run.out();
  }

  @Test
  void inspectListsTheSame() {
    String expected = out("inspect", MODEL);
    assertEquals(expected, out("inspect", folder));
    String tensors = expected.substring(expected.indexOf("tensor "));
    assertEquals(tensors, out("inspect", folder.resolve("pytorch_model.bin")));
    String recording = out("inspect", FIXTURES.resolve("torch/recording4.pkl"));
    assertTrue(recording.contains("model_pos_embed.0.1  F32   [2, 6]"), recording);
  }

  @Test
  void forwardAndEvalGiveTheSame() throws IOException {
    Path inputs = MODEL.resolve("reference.safetensors");
    for (Path model : List.of(MODEL, folder)) {
      Path states = folder.resolve(model.getFileName() + ".safetensors");
      out("forward", model, "--inputs", inputs, "--out", states);
    }
    assertEquals(
        -1,
        Files.mismatch(
            folder.resolve("tiny-qwen2.safetensors"),
            folder.resolve(folder.getFileName() + ".safetensors")));
    Path text = folder.resolve("text.txt");
    Files.writeString(text, "The store has 12 apples at 2 each. ".repeat(20));
    String measured = out("eval", MODEL, "--data", text, "--seq-len", 64);
    String ours = out("eval", folder, "--data", text, "--seq-len", 64);
    assertEquals(measured.replaceAll(", [^,]*$", ""), ours.replaceAll(", [^,]*$", ""));
  }
}
