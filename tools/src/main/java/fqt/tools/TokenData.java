package fqt.tools;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import fqt.tensor.Tensor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Token ids of a data file, to be cut into windows. A {@code .txt} file is one document, a {@code
 * .jsonl} file has a document {@code {"text": …}} on each line; documents are joined by the
 * end-of-text token. A {@code .safetensors} file holds ids already, in the tensor {@code ids} or in
 * the one named after a colon; with two dimensions, each row is a window of its own.
 *
 * @param source what the user named, for messages
 * @param ids all ids in order
 * @param rowLength length of the rows if the file had rows, otherwise 0
 */
record TokenData(String source, int[] ids, int rowLength) {
  private static final String SAFETENSORS = ".safetensors";

  /**
   * How text becomes ids.
   *
   * @param encode tokenizer
   * @param endOfText id that is put between documents
   */
  record Encoder(Function<String, int[]> encode, int endOfText) {}

  /**
   * Reads a data file.
   *
   * @param source path, after {@code .safetensors} perhaps with {@code :name}
   * @param encoder asked for only if the file holds text
   * @param vocabulary number of ids that the model knows
   * @throws FileFormatException if the file does not hold what its name promises, or an id is out
   *     of range
   */
  static TokenData load(String source, Supplier<Encoder> encoder, long vocabulary) {
    try {
      TokenData data;
      if (source.endsWith(".txt")) {
        data =
            new TokenData(
                source, encoder.get().encode().apply(Files.readString(Path.of(source))), 0);
      } else if (source.endsWith(".jsonl")) {
        data = ofLines(source, encoder.get());
      } else if (source.contains(SAFETENSORS)) {
        data = ofTensor(source);
      } else {
        throw new IllegalArgumentException(
            source + " is no data file; expected .txt, .jsonl or .safetensors[:NAME]");
      }
      return data.requireKnown(vocabulary);
    } catch (CharacterCodingException wrong) {
      throw new FileFormatException(source + " is not text in UTF-8", wrong);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static TokenData ofLines(String source, Encoder encoder) throws IOException {
    IdBuffer ids = new IdBuffer();
    try (BufferedReader lines = Files.newBufferedReader(Path.of(source))) {
      long number = 0;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        number++;
        if (!line.isBlank()) {
          if (ids.count > 0) {
            ids.add(encoder.endOfText());
          }
          ids.add(encoder.encode().apply(text(line, source + " line " + number)));
        }
      }
    }
    return new TokenData(source, ids.toArray(), 0);
  }

  /** The {@code text} of a line of JSON. */
  static String text(String line, String where) {
    return JsonObject.of(Json.parse(line, where), where).getString("text");
  }

  private static TokenData ofTensor(String source) {
    int end = source.lastIndexOf(SAFETENSORS) + SAFETENSORS.length();
    boolean named = end < source.length() && source.charAt(end) == ':';
    if (end < source.length() && !named) {
      throw new IllegalArgumentException(
          source + " is no data file; expected .txt, .jsonl or .safetensors[:NAME]");
    }
    String name = named ? source.substring(end + 1) : "ids";
    try (Safetensors file = Safetensors.open(Path.of(source.substring(0, end)))) {
      Tensor tensor = file.get(name);
      if (tensor.dtype().isFloat() || tensor.rank() < 1 || tensor.rank() > 2) {
        throw new FileFormatException(
            "%s: tensor '%s' is %s; expected integers of rank 1 or 2"
                .formatted(source, name, tensor));
      }
      long[] wide = tensor.toLongs();
      int[] ids = new int[wide.length];
      for (int i = 0; i < ids.length; i++) {
        ids[i] = Math.clamp(wide[i], -1, Integer.MAX_VALUE);
      }
      return new TokenData(source, ids, tensor.rank() == 2 ? Math.toIntExact(tensor.dim(1)) : 0);
    }
  }

  private TokenData requireKnown(long vocabulary) {
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabulary) {
        throw new FileFormatException(
            "%s: token %d is %d; the model knows ids 0 to %d"
                .formatted(source, i, ids[i], vocabulary - 1));
      }
    }
    return this;
  }

  /**
   * All windows in order, without overlap; a shorter rest is dropped. Rows of a file stay whole,
   * whatever the length.
   *
   * @throws IllegalArgumentException if there is no whole window
   */
  List<int[]> windows(int length) {
    int step = rowLength > 0 ? rowLength : length;
    List<int[]> windows = new ArrayList<>();
    for (int from = 0; from + step <= ids.length; from += step) {
      windows.add(Arrays.copyOfRange(ids, from, from + step));
    }
    if (windows.isEmpty()) {
      throw new IllegalArgumentException(
          "%s has %d tokens, less than one window of %d".formatted(source, ids.length, step));
    }
    return windows;
  }

  /**
   * Windows for calibration: the file's rows from the first on, or windows drawn without
   * replacement; all that there are if fewer than asked for.
   */
  List<int[]> sample(int count, int length, long seed) {
    List<int[]> windows = windows(length);
    int drawn = Math.min(count, windows.size());
    if (rowLength == 0) {
      Random random = new Random(seed);
      for (int i = 0; i < drawn; i++) {
        int other = i + random.nextInt(windows.size() - i);
        int[] window = windows.get(other);
        windows.set(other, windows.get(i));
        windows.set(i, window);
      }
    }
    return List.copyOf(windows.subList(0, drawn));
  }

  /** A growing array of ids. */
  private static final class IdBuffer {
    private int[] ids = new int[1024];
    private int count;

    void add(int... more) {
      int needed = Math.addExact(count, more.length);
      if (needed > ids.length) {
        ids =
            Arrays.copyOf(
                ids, (int) Math.min(Integer.MAX_VALUE - 8, Math.max(needed, 2L * ids.length)));
      }
      System.arraycopy(more, 0, ids, count, more.length);
      count = needed;
    }

    int[] toArray() {
      return Arrays.copyOf(ids, count);
    }
  }
}
