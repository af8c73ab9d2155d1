package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.io.FileFormatException;
import fqt.io.Io;
import fqt.io.Json;
import fqt.io.Safetensors;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints in PyTorch's own format are the same models. */
class TorchCheckpointModelTest {
  private static final String NAME = "tiny-qwen2";

  @TempDir private Path folder;

  private static float[] logits(Path checkpoint) {
    try (Safetensors reference =
            Safetensors.open(Fixtures.path(NAME).resolve("reference.safetensors"));
        CausalLm model = CausalLm.load(checkpoint, Device.CPU);
        Scope scope = Scope.open()) {
      return model.forward(reference.get("input_ids")).toFloats();
    }
  }

  @Test
  void singleAndShardedFilesGiveTheSameLogits() throws IOException {
    Path original = Fixtures.path(NAME);
    float[] expected = logits(original);
    Files.copy(original.resolve("config.json"), folder.resolve("config.json"));
    assertThrows(FileFormatException.class, () -> CausalLm.load(folder, Device.CPU));
    try (Safetensors weights = Safetensors.open(original)) {
      Map<String, Tensor> all = new LinkedHashMap<>();
      Map<String, Object> index = new LinkedHashMap<>();
      for (String name : weights.names()) {
        all.put(name, weights.get(name));
        index.put(name, "shard-" + (all.size() % 2) + ".bin");
      }
      Io.dump(all, folder.resolve("shard-0.bin"));
      Io.dump(all, folder.resolve("shard-1.bin"));
      Json.write(folder.resolve("pytorch_model.bin.index.json"), Map.of("weight_map", index));
    }
    assertArrayEquals(expected, logits(folder));
    Files.move(folder.resolve("shard-0.bin"), folder.resolve("pytorch_model.bin"));
    assertArrayEquals(expected, logits(folder));
  }
}
