package fqt.tools;

import fqt.io.AtomicFolder;
import fqt.io.Json;
import fqt.io.SafetensorsWriter;
import fqt.models.ModelConfig;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code fqt random-model}: a Qwen2 checkpoint of any size with random weights. */
@Command(
    name = "random-model",
    description = {
      "Writes a Qwen2 checkpoint of a given size with random weights, for timing and trying out.",
      "It has the tokenizer of the demo model."
    })
final class RandomModelCommand implements Callable<Integer> {
  @Parameters(paramLabel = "DIR", description = "Folder to make.")
  private Path out;

  @Option(names = "--hidden", paramLabel = "N", defaultValue = "512")
  private int hidden;

  @Option(names = "--layers", paramLabel = "N", defaultValue = "8")
  private int layers;

  @Option(names = "--intermediate", paramLabel = "N", defaultValue = "1408")
  private int intermediate;

  @Option(names = "--heads", paramLabel = "N", defaultValue = "8")
  private int heads;

  @Option(names = "--kv-heads", paramLabel = "N", defaultValue = "8")
  private int kvHeads;

  @Option(names = "--vocabulary", paramLabel = "N", defaultValue = "2048")
  private int vocabulary;

  @Option(names = "--seed", paramLabel = "N", defaultValue = "0")
  private long seed;

  @Spec private CommandSpec spec;

  private Random random;
  private SafetensorsWriter writer;

  @Override
  public Integer call() {
    for (int size : new int[] {hidden, layers, intermediate, heads, kvHeads}) {
      Options.atLeast(spec, "a size", size, 1);
    }
    Options.atLeast(spec, "--vocabulary", vocabulary, DemoFiles.VOCABULARY);
    if (hidden % (2 * heads) != 0 || heads % kvHeads != 0) {
      throw Options.wrong(
          spec,
          "%d heads of %d features with %d kv-heads do not divide evenly"
              .formatted(heads, hidden, kvHeads));
    }
    random = new Random(seed);
    try (AtomicFolder folder = AtomicFolder.create(out, false);
        SafetensorsWriter shards = SafetensorsWriter.create(folder.path(), 5_000_000_000L)) {
      writer = shards;
      tensors();
      shards.finish();
      DemoFiles.copyTokenizer(folder.path());
      Json.write(folder.path().resolve(ModelConfig.FILE), config());
      folder.commit();
      spec.commandLine().getOut().printf("wrote %s: %d parameters%n", out, shards.totalBytes() / 2);
    }
    return 0;
  }

  private void tensors() {
    matrix("model.embed_tokens.weight", vocabulary, hidden);
    int keys = hidden / heads * kvHeads;
    for (int i = 0; i < layers; i++) {
      String layer = "model.layers." + i + ".";
      ones(layer + "input_layernorm.weight");
      matrix(layer + "self_attn.q_proj.weight", hidden, hidden);
      matrix(layer + "self_attn.q_proj.bias", hidden);
      matrix(layer + "self_attn.k_proj.weight", keys, hidden);
      matrix(layer + "self_attn.k_proj.bias", keys);
      matrix(layer + "self_attn.v_proj.weight", keys, hidden);
      matrix(layer + "self_attn.v_proj.bias", keys);
      matrix(layer + "self_attn.o_proj.weight", hidden, hidden);
      ones(layer + "post_attention_layernorm.weight");
      matrix(layer + "mlp.gate_proj.weight", intermediate, hidden);
      matrix(layer + "mlp.up_proj.weight", intermediate, hidden);
      matrix(layer + "mlp.down_proj.weight", hidden, intermediate);
    }
    ones("model.norm.weight");
  }

  /** Normal numbers whose products over a row keep the size of what comes in. */
  private void matrix(String name, long... dims) {
    long columns = dims[dims.length - 1];
    float[] values = new float[Math.toIntExact(dims[0] * (dims.length == 2 ? columns : 1))];
    float deviation = (float) (1 / Math.sqrt(columns));
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() * deviation;
    }
    try (Scope scope = Scope.open()) {
      writer.write(name, Ops.to(Ops.of(values, dims), DType.BF16));
    }
  }

  private void ones(String name) {
    try (Scope scope = Scope.open()) {
      writer.write(name, Ops.full(Device.CPU, DType.BF16, 1, hidden));
    }
  }

  private Map<String, Object> config() {
    Map<String, Object> config = new LinkedHashMap<>(DemoFiles.config());
    config.put("hidden_size", (long) hidden);
    config.put("num_hidden_layers", (long) layers);
    config.put("intermediate_size", (long) intermediate);
    config.put("num_attention_heads", (long) heads);
    config.put("num_key_value_heads", (long) kvHeads);
    config.put("vocab_size", (long) vocabulary);
    config.put("max_position_embeddings", 4096L);
    config.put("max_window_layers", (long) layers);
    config.remove("layer_types");
    return config;
  }
}
