package fqt.tools;

import fqt.io.AtomicFolder;
import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.SafetensorsWriter;
import fqt.models.ModelConfig;
import fqt.tensor.Shape;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code fqt random-model}: a checkpoint of any shape with random weights. */
@Command(
    name = "random-model",
    description = {
      "Writes a checkpoint with random weights, for timing and trying out.",
      "Its shape is that of a published model, of any config.json, or of given sizes. It has the"
          + " tokenizer of the demo model, and 'fqt inspect' says what it is."
    })
final class RandomModelCommand implements Callable<Integer> {
  /** Entry of config.json that tells random weights from others. */
  static final String SEED = "random_weights_seed";

  @Parameters(paramLabel = "DIR", description = "Folder to make.")
  private Path out;

  @Option(
      names = "--shape",
      paramLabel = "NAME|FILE",
      description = "A published model, such as qwen2.5-7b or qwen3-30b-a3b, or a config.json.")
  private String shape;

  @Option(names = "--hidden", paramLabel = "N", description = "Features (without --shape: 512).")
  private Long hidden;

  @Option(names = "--layers", paramLabel = "N", description = "Layers (without --shape: 8).")
  private Long layers;

  @Option(
      names = "--intermediate",
      paramLabel = "N",
      description = "Features inside of the MLP (without --shape: 1408).")
  private Long intermediate;

  @Option(names = "--heads", paramLabel = "N", description = "Heads (without --shape: 8).")
  private Long heads;

  @Option(
      names = "--kv-heads",
      paramLabel = "N",
      description = "Heads of keys and values (without --shape: 8).")
  private Long kvHeads;

  @Option(
      names = "--vocabulary",
      paramLabel = "N",
      description = "Token ids (without --shape: 2048).")
  private Long vocabulary;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Other seeds give other weights (default: 0).")
  private long seed;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Map<String, Object> config =
        shape == null ? own() : Options.usage(spec, () -> PublishedShapes.find(shape));
    config.put(SEED, seed);
    Map<String, Shape> tensors = tensors(config);
    RandomWeights weights = new RandomWeights(seed);
    try (AtomicFolder folder = AtomicFolder.create(out, false);
        SafetensorsWriter shards = SafetensorsWriter.create(folder.path(), 5_000_000_000L)) {
      tensors.forEach((name, dims) -> weights.write(shards, name, dims));
      shards.finish();
      DemoFiles.copyTokenizer(folder.path());
      Json.write(folder.path().resolve(ModelConfig.FILE), config);
      folder.commit();
      spec.commandLine().getOut().printf("wrote %s: %d parameters%n", out, shards.totalBytes() / 2);
    }
    return 0;
  }

  private static Map<String, Object> own() {
    Map<String, Object> config = new LinkedHashMap<>(DemoFiles.config());
    config.put("hidden_size", 512L);
    config.put("num_hidden_layers", 8L);
    config.put("intermediate_size", 1408L);
    config.put("num_attention_heads", 8L);
    config.put("num_key_value_heads", 8L);
    config.put("vocab_size", 2048L);
    config.put("max_position_embeddings", 4096L);
    return config;
  }

  /** Puts the sizes that were given into the configuration of the language model. */
  private void resize(Map<String, Object> config) {
    config.remove("quantization_config");
    Map<String, Object> text = inner(config, "text_config");
    Map<String, Object> vision = inner(config, "vision_config");
    if (vision != config) {
      String joint = vision.containsKey("out_hidden_size") ? "out_hidden_size" : "hidden_size";
      put(vision, "--hidden", hidden, joint);
    }
    put(text, "--hidden", hidden, "hidden_size");
    put(text, "--layers", layers, "num_hidden_layers");
    put(text, "--intermediate", intermediate, "intermediate_size");
    put(text, "--heads", heads, "num_attention_heads");
    put(text, "--kv-heads", kvHeads, "num_key_value_heads");
    put(text, "--vocabulary", vocabulary, "vocab_size");
    requireWholeHeads(text);
    if (layers != null || shape == null) {
      text.remove("layer_types");
      text.put("max_window_layers", text.get("num_hidden_layers"));
    }
  }

  /** An object of the configuration, to be changed; the configuration where it has none. */
  private static Map<String, Object> inner(Map<String, Object> config, String name) {
    if (!config.containsKey(name)) {
      return config;
    }
    Map<String, Object> copy =
        new LinkedHashMap<>(new JsonObject(config, "the configuration").getObject(name).values());
    config.put(name, copy);
    return copy;
  }

  private void put(Map<String, Object> config, String option, Long size, String entry) {
    Options.atLeast(spec, option, size, 1);
    if (size != null) {
      config.put(entry, size);
    }
  }

  private void requireWholeHeads(Map<String, Object> entries) {
    JsonObject text = new JsonObject(entries, "the configuration");
    long features = text.getLong("hidden_size");
    long count = text.getLong("num_attention_heads");
    if (!text.has("head_dim") && features % (2 * count) != 0) {
      throw Options.wrong(
          spec, "%d features do not divide into %d heads of even size".formatted(features, count));
    }
  }

  /** What the configuration asks for; a configuration that cannot be is wrong usage. */
  private Map<String, Shape> tensors(Map<String, Object> entries) {
    try {
      resize(entries);
      ModelConfig config = ModelConfig.of(new JsonObject(entries, "the configuration"));
      Options.atLeast(spec, "the vocabulary", config.text().vocabulary(), DemoFiles.VOCABULARY);
      return config.tensors();
    } catch (FileFormatException wrong) {
      throw Options.wrong(spec, Failures.oneLine(wrong.getMessage()));
    }
  }
}
