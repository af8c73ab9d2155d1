package fqt.quant;

import fqt.io.Safetensors;
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
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;

/**
 * Recorded generations, a file each, as {@link DataRecorder} saves them: the inputs of a model's
 * first layer and its rotary tables, the prompt in one entry and every generated token in one more.
 * Joined, they are one sequence, which is what a layer would have seen without a cache.
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
          entries.filter(path -> path.toString().endsWith(".safetensors")).sorted().toList();
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
    try (Scope scope = Scope.open();
        Safetensors file = Safetensors.open(path)) {
      Tensor hidden = joined(path, file, DataRecorder.INPUT);
      if (hidden == null) {
        throw new IllegalArgumentException(
            path + " holds no recorded tensor " + DataRecorder.INPUT + ".0");
      }
      Tensor cos = joined(path, file, DataRecorder.COS);
      Tensor sin = joined(path, file, DataRecorder.SIN);
      long tokens = hidden.dim(0);
      requireTokens(path, DataRecorder.COS, cos, tokens);
      requireTokens(path, DataRecorder.SIN, sin, tokens);
      inputs.add(hidden, new LayerArgs(cos, sin, AttentionMask.causal(tokens), null));
    }
  }

  /** The entries of a list one below the other, or null if there are none. */
  private static Tensor joined(Path path, Safetensors file, String name) {
    List<Tensor> parts = DataRecorder.load(file, name);
    if (parts.isEmpty()) {
      return null;
    }
    for (Tensor part : parts) {
      if (part.rank() != 2 || part.dtype() != DType.F32) {
        throw new IllegalArgumentException(
            path + ": recorded " + name + " is " + part + "; expected an F32 matrix");
      }
    }
    Tensor[] others = parts.subList(1, parts.size()).toArray(Tensor[]::new);
    return Ops.concatRows(parts.getFirst(), others);
  }

  private static void requireTokens(Path path, String name, Tensor table, long tokens) {
    if (table != null && table.dim(0) != tokens) {
      throw new IllegalArgumentException(
          "%s: recorded %s has %d tokens, the inputs have %d"
              .formatted(path, name, table.dim(0), tokens));
    }
  }
}
