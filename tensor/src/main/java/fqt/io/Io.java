package fqt.io;

import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Loads and dumps values by the ending of the file's name.
 *
 * <table>
 * <caption>Endings</caption>
 * <tr><th>ending<th>value
 * <tr><td>{@code .safetensors}<td>a map from names to tensors, or to lists of tensors
 * <tr><td>{@code .json}<td>see {@link Json}
 * <tr><td>{@code .pth}, {@code .pt}, {@code .bin}<td>what {@code torch.save} wrote; we write what
 *     {@code torch.load(path, weights_only=True)} reads
 * <tr><td>{@code .pkl}<td>what {@code pickle.dump} wrote, with torch tensors in it
 * </table>
 *
 * <p>Values are maps, lists, strings, numbers, booleans, null and tensors. Loaded tensors are views
 * of the mapped file, which stays mapped as long as one of them is reachable. A pickle's tuples
 * become lists, its byte strings U8 tensors.
 *
 * {@snippet :
 * Io.dump(Map.of("model_input", List.of(first, second)), Path.of("recording.safetensors"));
 * Object recording = Io.load(Path.of("recording.safetensors"));
 * }
 */
public final class Io {
  /** Marks a safetensors file in which the tensor {@code name.i} is entry i of a list. */
  private static final Map<String, String> LISTS = Map.of("format", "fqt-recording");

  private Io() {}

  /**
   * Reads a file.
   *
   * @param path a file with one of the endings above
   * @return maps, lists, texts, numbers, truth values, nulls and tensors, nested as in the file
   * @throws IllegalArgumentException if the ending is not one of those above
   * @throws FileFormatException if the file is malformed or asks for what is not allowed
   * @throws java.io.UncheckedIOException if it cannot be read
   */
  public static Object load(Path path) {
    return switch (ending(path)) {
      case "safetensors" -> loadSafetensors(path);
      case "json" -> Json.read(path);
      default -> TorchReader.read(path, Arena.ofAuto());
    };
  }

  /**
   * Writes a file, which appears whole or not at all.
   *
   * @param value what the format of the ending can hold
   * @param path the file, with one of the endings above; replaced if it exists
   * @throws IllegalArgumentException if the ending is not one of those above, or the format has no
   *     form for the value
   * @throws java.io.UncheckedIOException if it cannot be written
   */
  public static void dump(Object value, Path path) {
    switch (ending(path)) {
      case "safetensors" -> dumpSafetensors(value, path);
      case "json" -> Json.write(path, value);
      case "pkl" -> TorchWriter.writePickle(path, value);
      default -> TorchWriter.writeZip(path, value);
    }
  }

  private static String ending(Path path) {
    String name = path.getFileName().toString().toLowerCase(Locale.ROOT);
    String ending = name.substring(name.lastIndexOf('.') + 1);
    return switch (ending) {
      case "safetensors", "json", "pkl", "pth", "pt", "bin" -> ending;
      default ->
          throw new IllegalArgumentException(
              path + " ends in none of .safetensors, .json, .pkl, .pth, .pt and .bin");
    };
  }

  private static Map<String, Object> loadSafetensors(Path path) {
    Safetensors file = Safetensors.open(path, Arena.ofAuto());
    boolean lists = file.metadata().entrySet().containsAll(LISTS.entrySet());
    Map<String, Object> values = new LinkedHashMap<>();
    for (String name : file.names()) {
      if (lists) {
        addToList(values, name, file);
      } else {
        values.put(name, file.get(name));
      }
    }
    return values;
  }

  /** The first entry of a list brings the others, which follow it in number. */
  private static void addToList(Map<String, Object> values, String name, Safetensors file) {
    if (name.endsWith(".0")) {
      String list = name.substring(0, name.length() - 2);
      List<Tensor> tensors = new ArrayList<>();
      while (file.has(list + "." + tensors.size())) {
        tensors.add(file.get(list + "." + tensors.size()));
      }
      values.put(list, tensors);
    }
  }

  private static void dumpSafetensors(Object value, Path path) {
    if (!(value instanceof Map<?, ?> map)) {
      throw new IllegalArgumentException("a safetensors file holds a map of tensors");
    }
    boolean lists = !map.isEmpty() && map.values().stream().allMatch(List.class::isInstance);
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    map.forEach(
        (name, element) -> {
          if (lists) {
            List<?> list = (List<?>) element;
            for (int i = 0; i < list.size(); i++) {
              put(tensors, name + "." + i, list.get(i));
            }
          } else {
            put(tensors, name, element);
          }
        });
    SafetensorsWriter.writeFile(path, tensors, lists ? LISTS : SafetensorsWriter.METADATA);
  }

  private static void put(Map<String, Tensor> tensors, Object name, Object value) {
    if (!(name instanceof String text) || !(value instanceof Tensor tensor)) {
      throw new IllegalArgumentException(
          "a safetensors file holds tensors, or lists of tensors, by name; '%s' is none"
              .formatted(name));
    }
    tensors.put(text, tensor);
  }
}
