package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The configurations of models that were published, by name: {@code shapes.json} of this package.
 */
final class PublishedShapes {
  private static final String SOURCE = "shapes.json";

  private PublishedShapes() {}

  /**
   * A configuration.
   *
   * @param asked a name such as {@code qwen2.5-7b}, a {@code config.json} or a folder with one
   * @throws IllegalArgumentException if it is neither, with the names that there are
   */
  static Map<String, Object> find(String asked) {
    JsonObject shapes = all();
    if (shapes.has(asked)) {
      return entries(shapes.getObject(asked));
    }
    Path path = Path.of(asked);
    Path file = Files.isDirectory(path) ? path.resolve("config.json") : path;
    if (!Files.exists(file)) {
      throw new IllegalArgumentException(
          "'%s' is neither a file nor one of %s"
              .formatted(asked, String.join(", ", shapes.values().keySet())));
    }
    return new LinkedHashMap<>(Json.readObject(file).values());
  }

  private static Map<String, Object> entries(JsonObject shape) {
    Map<String, Object> config = new LinkedHashMap<>(shape.values());
    config.put("dtype", "bfloat16");
    config.put("hidden_act", "silu");
    config.putIfAbsent("rms_norm_eps", 1e-6);
    return config;
  }

  private static JsonObject all() {
    try (InputStream in = PublishedShapes.class.getResourceAsStream(SOURCE)) {
      return JsonObject.of(Json.parse(in.readAllBytes(), SOURCE), SOURCE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
