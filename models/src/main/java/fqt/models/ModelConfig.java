package fqt.models;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What {@code config.json} says of a model.
 *
 * @param modelType such as {@code qwen2}
 * @param text the language model
 * @param vision the vision tower, or null
 * @param pictureTokens tokens that stand for pictures, or null
 * @param quantization the {@code quantization_config} of a quantized checkpoint, otherwise empty
 */
public record ModelConfig(
    String modelType,
    TextConfig text,
    VisionConfig vision,
    PictureTokens pictureTokens,
    Map<String, Object> quantization) {
  /** File name of the configuration in a checkpoint. */
  public static final String FILE = "config.json";

  private static final String TIED = "tie_word_embeddings";

  /**
   * Reads the configuration of a checkpoint.
   *
   * @param folder the checkpoint
   * @return its numbers, checked
   * @throws FileFormatException if an entry is missing or wrong, or the model type not supported
   */
  public static ModelConfig read(Path folder) {
    return of(Json.readObject(folder.resolve(FILE)));
  }

  /**
   * {@return a configuration from the contents of {@code config.json}}
   *
   * @param config the object that the file holds
   * @throws FileFormatException if an entry is missing or wrong, or the model type not supported
   */
  public static ModelConfig of(JsonObject config) {
    String modelType = config.getString("model_type");
    Family family =
        Family.of(modelType)
            .orElseThrow(
                () ->
                    new FileFormatException(
                        "%s: model type '%s' is not supported; supported are %s"
                            .formatted(
                                config.source(),
                                modelType,
                                String.join(", ", Family.modelTypes()))));
    boolean pictures = family.seesPictures();
    return new ModelConfig(
        modelType,
        TextConfig.read(family, textEntries(config)),
        pictures ? VisionConfig.read(family, config.getObject("vision_config")) : null,
        pictures ? PictureTokens.read(config) : null,
        config.getObjectOrEmpty("quantization_config").values());
  }

  /**
   * The entries of the language model: beside the others in old checkpoints, in an object of their
   * own in new ones, where sharing the embedding table is still settled outside.
   */
  private static JsonObject textEntries(JsonObject config) {
    if (!config.has("text_config")) {
      return config;
    }
    JsonObject text = config.getObject("text_config");
    Map<String, Object> entries = new LinkedHashMap<>(text.values());
    if (config.has(TIED)) {
      entries.put(TIED, config.getBoolean(TIED));
    }
    return new JsonObject(entries, text.source());
  }

  /**
   * {@return the names and shapes of the tensors that a checkpoint in floating point needs for this
   * configuration, without those that it may have besides, such as the head of a tied model}
   */
  public Map<String, Shape> tensors() {
    WantedTensors wanted = new WantedTensors();
    try (Scope scope = Scope.open()) {
      new ModelBuilder(this, wanted, Device.CPU).buildAll();
    }
    return wanted.shapes();
  }

  /** {@return whether the checkpoint was quantized} */
  public boolean isQuantized() {
    return !quantization.isEmpty();
  }
}
