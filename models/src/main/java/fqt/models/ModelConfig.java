package fqt.models;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import java.nio.file.Path;
import java.util.Map;

/**
 * What {@code config.json} says of a model.
 *
 * @param modelType such as {@code qwen2}
 * @param text the language model
 * @param quantization the {@code quantization_config} of a quantized checkpoint, otherwise empty
 */
public record ModelConfig(String modelType, TextConfig text, Map<String, Object> quantization) {
  /** File name of the configuration in a checkpoint. */
  public static final String FILE = "config.json";

  /**
   * Reads the configuration of a checkpoint.
   *
   * @param folder the checkpoint
   * @throws FileFormatException if an entry is missing or wrong, or the model type not supported
   */
  public static ModelConfig read(Path folder) {
    return of(Json.readObject(folder.resolve(FILE)));
  }

  /**
   * A configuration from the contents of {@code config.json}.
   *
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
    return new ModelConfig(
        modelType,
        TextConfig.read(family, config),
        config.getObjectOrEmpty("quantization_config").values());
  }

  /** Whether the checkpoint was quantized. */
  public boolean isQuantized() {
    return !quantization.isEmpty();
  }
}
