package fqt.quant;

import fqt.io.Io;
import fqt.nn.Hooks;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.quant.flow.ActivationStore;
import fqt.quant.flow.RecordedFile;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * Records what flows through a running network: hooks copy tensors to host memory, each under a
 * name, one entry for each call. Closing removes the hooks and frees the recordings.
 *
 * {@snippet :
 * try (DataRecorder recorder = new DataRecorder()) {
 *   recorder.input(DataRecorder.INPUT, model.layers().getFirst());
 *   recorder.positions(model.layers().getFirst());
 *   model.generate(prompt);
 *   recorder.save(folder.resolve("0000.safetensors"));
 * }
 * }
 *
 * <p>A file of recordings is a map of lists of tensors, by the names below or the path of a linear:
 * a safetensors file in which entry {@code i} of the list {@code name} is the tensor {@code
 * name.i}, or a {@code .pkl} file that Python opens as {@code dict[str, list[torch.Tensor]]}.
 * {@link fqt.io.Io#load} reads both. Not safe for several threads.
 */
public final class DataRecorder implements AutoCloseable {
  /** Name of the inputs of the first layer, F32 [tokens, features]. */
  public static final String INPUT = RecordedFile.INPUT;

  /** Name of the rotary tables, cosines before sines, F32 [2, tokens, rotary dimensions / 2]. */
  public static final String POSITIONS = RecordedFile.POSITIONS;

  /** Name of the token ids, I32. */
  public static final String IDS = "model_input_ids";

  /** Name of the outputs. */
  public static final String OUTPUT = "model_output";

  private final Hooks hooks = new Hooks();
  private final SequencedMap<String, List<Tensor>> recordings = new LinkedHashMap<>();
  private final ActivationStore store = new ActivationStore(Device.CPU, null);

  /** Watches nothing yet. */
  public DataRecorder() {}

  /**
   * Records the input of a module. Token ids too, of an embedding.
   *
   * @param name the list that gets one entry a call, such as {@link #INPUT}
   * @param module the module to watch
   */
  public void input(String name, Module module) {
    hooks.add(module.before((self, input, args) -> record(name, input)));
  }

  /**
   * Records the output of a module.
   *
   * @param name the list that gets one entry a call, such as {@link #OUTPUT}
   * @param module the module to watch
   */
  public void output(String name, Module module) {
    hooks.add(module.after((self, input, args, output) -> record(name, output)));
  }

  /**
   * Records the rotary tables that a module is called with, under {@link #POSITIONS}.
   *
   * @param module a layer with attention
   */
  public void positions(Module module) {
    hooks.add(
        module.before(
            (self, input, args) -> {
              if (args.cos() != null) {
                try (Scope scope = Scope.open()) {
                  record(POSITIONS, RecordedFile.stacked(args));
                }
              }
            }));
  }

  /**
   * Records the input of every linear below a module, under its path.
   *
   * @param prefix path of the module, which the lists' names begin with; may be empty
   * @param module the module whose linears to watch
   */
  public void linearInputs(String prefix, Module module) {
    module.visit(
        (path, part) -> {
          if (part instanceof Linear) {
            input(prefix.isEmpty() ? path : prefix + "." + path, part);
          }
        });
  }

  private void record(String name, Tensor tensor) {
    recordings.computeIfAbsent(name, unused -> new ArrayList<>()).add(store.add(tensor));
  }

  /** {@return what was recorded, by name, in the order of the calls; until {@link #clear}} */
  public Map<String, List<Tensor>> recordings() {
    return Collections.unmodifiableMap(recordings);
  }

  /**
   * Writes the recordings to a file that appears whole or not at all.
   *
   * @param file ending in {@code .safetensors} or {@code .pkl}
   */
  public void save(Path file) {
    Io.dump(recordings, file);
  }

  /** Forgets and frees what was recorded; the hooks stay. */
  public void clear() {
    recordings.clear();
    store.close();
  }

  /** Removes the hooks; the recordings stay. */
  public void remove() {
    hooks.close();
  }

  /** Removes the hooks and frees the recordings. */
  @Override
  public void close() {
    remove();
    clear();
  }
}
