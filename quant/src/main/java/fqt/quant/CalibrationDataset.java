package fqt.quant;

import fqt.quant.flow.RecordedFile;
import fqt.tensor.Device;
import fqt.tensor.Scope;
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
 * Recorded generations, a file each, as {@link DataRecorder} or the Python FQT saved them: the
 * inputs of a model's first layer and its rotary tables, the prompt in one entry and every
 * generated token in one more. Joined, they are one sequence, which is what a layer would have seen
 * without a cache.
 *
 * @param files the generations
 */
public record CalibrationDataset(List<Path> files) {
  /**
   * {@return the generations in a folder, in the order of their file names}
   *
   * @param folder where {@code .safetensors} and {@code .pkl} files lie
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

  /**
   * Some generations as calibration inputs, drawn without replacement.
   *
   * @param count how many
   * @param seed the same seed draws the same generations in the same order
   * @param device where they will be used
   * @return one sample a generation
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
        try (Scope scope = Scope.open()) {
          RecordedFile recorded = RecordedFile.read(file);
          inputs.add(recorded.hidden(), recorded.args());
        }
      }
      return inputs;
    } catch (RuntimeException e) {
      inputs.close();
      throw e;
    }
  }
}
