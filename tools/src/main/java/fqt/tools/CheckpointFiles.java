package fqt.tools;

import fqt.models.ModelConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;

/** The files of a checkpoint besides its tensors. */
final class CheckpointFiles {
  private static final Set<String> ENDINGS = Set.of("json", "jinja", "txt", "model", "tiktoken");

  private CheckpointFiles() {}

  /**
   * Copies tokenizer, generation settings, chat template, image processor settings and licence; not
   * the tensors, their index, and the configuration.
   */
  static void carryOver(Path source, Path target) {
    try (Stream<Path> files = Files.list(source)) {
      for (Path file : (Iterable<Path>) files.sorted()::iterator) {
        if (Files.isRegularFile(file) && belongs(file.getFileName().toString())) {
          Files.copy(file, target.resolve(file.getFileName().toString()));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean belongs(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    if (lower.equals(ModelConfig.FILE) || lower.endsWith(".index.json")) {
      return false;
    }
    return ENDINGS.contains(lower.substring(lower.lastIndexOf('.') + 1))
        || lower.startsWith("license")
        || lower.startsWith("notice");
  }
}
