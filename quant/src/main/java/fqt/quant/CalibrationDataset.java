package fqt.quant;

import fqt.io.Io;
import fqt.nn.LayerArgs;
import fqt.tensor.AttentionMask;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;

/**
 * Recorded generations, a file each, as {@link DataRecorder} saves them: the inputs of a model's
 * first layer and its rotary tables, the prompt in one entry and every generated token in one more.
 * Joined, they are one sequence, which is what a layer would have seen without a cache.
 *
 * <p>Files that the Python FQT recorded are read too: inputs [1, tokens, features] in any float
 * type, and rotary tables as pairs of cosines and sines [1, tokens, rotary dimensions] whose halves
 * are the same.
 */
public final class CalibrationDataset {
  private final List<Path> files;

  private CalibrationDataset(List<Path> files) {
    this.files = files;
  }

  /**
   * The generations in a folder, in the order of their file names.
   *
   * @throws IllegalArgumentException if there are none
   */
  public static CalibrationDataset load(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      List<Path> files =
          entries
              .filter(path -> path.toString().matches(".*\\.(safetensors|pkl)"))
              .sorted()
              .toList();
      if (files.isEmpty()) {
        throw new IllegalArgumentException(folder + " holds no recorded generation");
      }
      return new CalibrationDataset(files);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot list " + folder + ": " + e.getMessage(), e);
    }
  }

  /** Number of generations. */
  public int size() {
    return files.size();
  }

  /**
   * Some generations as calibration inputs, drawn without replacement.
   *
   * @param count how many
   * @param seed the same seed draws the same generations in the same order
   * @param device where they will be used
   * @throws IllegalArgumentException if there are fewer, or a recording is incomplete
   */
  public CalibrationInputs sample(int count, long seed, Device device) {
    if (count < 1 || count > files.size()) {
      throw new IllegalArgumentException(
          "cannot draw " + count + " samples from " + files.size() + " recorded generations");
    }
    List<Path> drawn = new ArrayList<>(files);
    Collections.shuffle(drawn, new Random(seed));
    CalibrationInputs inputs = new CalibrationInputs(device);
    try {
      for (Path file : drawn.subList(0, count)) {
        add(file, inputs);
      }
      return inputs;
    } catch (RuntimeException e) {
      inputs.close();
      throw e;
    }
  }

  private static void add(Path path, CalibrationInputs inputs) {
    try (Scope scope = Scope.open()) {
      if (!(Io.load(path) instanceof Map<?, ?> recording)) {
        throw new IllegalArgumentException(path + " holds no map of recorded lists");
      }
      List<?> states = list(path, recording, DataRecorder.INPUT);
      if (states.isEmpty()) {
        throw new IllegalArgumentException(path + " holds no recorded list " + DataRecorder.INPUT);
      }
      Tensor hidden =
          joined(states.stream().map(state -> matrix(path, DataRecorder.INPUT, state)).toList());
      List<Tensor> cos = new ArrayList<>();
      List<Tensor> sin = new ArrayList<>();
      for (Object entry : list(path, recording, DataRecorder.POSITIONS)) {
        addTables(path, entry, cos, sin);
      }
      long tokens = hidden.dim(0);
      requireTokens(path, cos, tokens);
      requireTokens(path, sin, tokens);
      AttentionMask mask = AttentionMask.causal(tokens);
      inputs.add(hidden, new LayerArgs(joined(cos), joined(sin), mask, null));
    }
  }

  private static List<?> list(Path path, Map<?, ?> recording, String name) {
    Object value = recording.get(name);
    if (value != null && !(value instanceof List<?>)) {
      throw new IllegalArgumentException(path + ": recorded " + name + " is no list");
    }
    return value == null ? List.of() : (List<?>) value;
  }

  /** Cosines and sines of one call, stacked as we record them or a pair as Python does. */
  private static void addTables(Path path, Object entry, List<Tensor> cos, List<Tensor> sin) {
    String name = DataRecorder.POSITIONS;
    if (entry instanceof Tensor both && both.rank() == 3 && both.dim(0) == 2) {
      cos.add(matrix(path, name, both.select(0, 0)));
      sin.add(matrix(path, name, both.select(0, 1)));
    } else if (entry instanceof List<?> pair && pair.size() == 2) {
      cos.add(half(path, matrix(path, name, pair.get(0))));
      sin.add(half(path, matrix(path, name, pair.get(1))));
    } else {
      throw new IllegalArgumentException(
          "%s: recorded %s has the entry %s; expected [2, tokens, dimensions] or a pair"
              .formatted(path, name, entry));
    }
  }

  /** The first half of the columns, which the second repeats. */
  private static Tensor half(Path path, Tensor table) {
    long columns = table.dim(1);
    Tensor first = Ops.contiguous(table.slice(1, 0, columns / 2));
    Tensor second = Ops.contiguous(table.slice(1, columns / 2, columns));
    if (columns % 2 != 0 || !Arrays.equals(first.toFloats(), second.toFloats())) {
      throw new IllegalArgumentException(
          "%s: a recorded rotary table %s does not repeat its first half in its second"
              .formatted(path, table));
    }
    return first;
  }

  /** A recorded tensor in F32, without a batch of one around it. */
  private static Tensor matrix(Path path, String name, Object entry) {
    if (entry instanceof Tensor tensor && tensor.dtype().isFloat()) {
      boolean batch = tensor.rank() == 3 && tensor.dim(0) == 1;
      Tensor matrix = batch ? tensor.select(0, 0) : tensor;
      if (matrix.rank() == 2) {
        return Ops.to(Ops.contiguous(matrix), DType.F32);
      }
    }
    throw new IllegalArgumentException(
        "%s: recorded %s has the entry %s; expected floats [tokens, features]"
            .formatted(path, name, entry));
  }

  /** The entries of a list one below the other, or null if there are none. */
  private static Tensor joined(List<Tensor> parts) {
    return parts.isEmpty()
        ? null
        : Ops.concatRows(parts.getFirst(), parts.subList(1, parts.size()).toArray(Tensor[]::new));
  }

  private static void requireTokens(Path path, List<Tensor> tables, long tokens) {
    long found = tables.stream().mapToLong(table -> table.dim(0)).sum();
    if (!tables.isEmpty() && found != tokens) {
      throw new IllegalArgumentException(
          "%s: recorded %s has %d tokens, the inputs have %d"
              .formatted(path, DataRecorder.POSITIONS, found, tokens));
    }
  }
}
