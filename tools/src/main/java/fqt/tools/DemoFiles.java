package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The embedded model and texts, which travel in this module's jar. */
final class DemoFiles {
  /** Ids that the embedded tokenizer makes. */
  static final int VOCABULARY = 1280;

  private static final String MODEL = "tiny-qwen2/";
  private static final List<String> TOKENIZER =
      List.of(
          "tokenizer.json",
          "tokenizer_config.json",
          "generation_config.json",
          "chat_template.jinja");

  private static final String SOURCE = "the embedded config.json";

  private DemoFiles() {}

  /** Copies model and texts into a folder: the model and the token ids of two texts. */
  static void copyAll(Path folder) {
    Path model = folder.resolve("model");
    copyTokenizer(model);
    copy(MODEL + "config.json", model.resolve("config.json"));
    copy(MODEL + "model.safetensors", model.resolve("model.safetensors"));
    copy("calib_ids.safetensors", folder.resolve("calib_ids.safetensors"));
    copy("eval_ids.safetensors", folder.resolve("eval_ids.safetensors"));
  }

  /** Copies the files of the tokenizer into a folder, which is made if it is missing. */
  static void copyTokenizer(Path folder) {
    TOKENIZER.forEach(name -> copy(MODEL + name, folder.resolve(name)));
  }

  /** The model's configuration. */
  static Map<String, Object> config() {
    try (InputStream in = open(MODEL + "config.json")) {
      return JsonObject.of(Json.parse(in.readAllBytes(), SOURCE), SOURCE).values();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void copy(String name, Path target) {
    try (InputStream in = open(name)) {
      Files.createDirectories(target.getParent());
      Files.copy(in, target);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static InputStream open(String name) throws IOException {
    InputStream in = DemoFiles.class.getResourceAsStream("demo/" + name);
    if (in == null) {
      throw new IOException("this build lacks the embedded file " + name);
    }
    return in;
  }
}
