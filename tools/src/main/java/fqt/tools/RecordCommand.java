package fqt.tools;

import fqt.io.AtomicFolder;
import fqt.models.CausalLm;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.DataRecorder;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt record}: what flows into a module, a file for each sample. */
@Command(
    name = "record",
    description = {
      "Records what a module is fed while the model reads a text, a safetensors file a sample.",
      "Of a whole layer it records input, output and rotary tables; those of the first layer are a"
          + " calibration data set."
    })
final class RecordCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @Option(names = "--data", required = true, paramLabel = "FILE", description = Options.DATA_HELP)
  private String data;

  @Option(
      names = "--module",
      required = true,
      paramLabel = "NAME",
      description =
          "Path as in the checkpoint, such as model.layers.0 or model.layers.2.mlp.up_proj.")
  private String name;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Folder to make; it must not hold files yet.")
  private Path out;

  @Option(
      names = "--samples",
      paramLabel = "N",
      defaultValue = "128",
      description = "Windows to record (default: 128).")
  private int samples;

  @Option(
      names = "--seq-len",
      paramLabel = "N",
      description = "Tokens of a window (default: 2048, or as many as the model was made for).")
  private Integer length;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Of the draw of the windows (default: 0).")
  private long seed;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Options.atLeast(spec, "--samples", samples, 1);
    Options.atLeast(spec, "--seq-len", length, 1);
    try (CausalLm lm = model.load()) {
      TokenData tokens = model.data(data, lm);
      int window = ModelOptions.windowLength(length, lm);
      record(lm, tokens.sample(samples, window, seed));
    }
    return 0;
  }

  private void record(CausalLm lm, List<int[]> windows) {
    int last = layerOf(lm);
    try (AtomicFolder folder = AtomicFolder.create(out, false);
        DataRecorder recorder = new DataRecorder();
        Progress progress = new Progress(spec.commandLine().getErr(), "sample", windows.size())) {
      watch(lm, recorder, last);
      for (int i = 0; i < windows.size(); i++) {
        run(lm, windows.get(i), last);
        recorder.save(folder.path().resolve("%05d.safetensors".formatted(i)));
        recorder.clear();
        progress.at(i + 1, "");
      }
      folder.commit();
    }
    spec.commandLine().getOut().printf("wrote %s: %d samples%n", out, windows.size());
  }

  private void watch(CausalLm lm, DataRecorder recorder, int layer) {
    String prefix = lm.layerPrefix(layer);
    Module whole = lm.layers().get(layer);
    if (name.equals(prefix)) {
      recorder.input(DataRecorder.INPUT, whole);
      recorder.positions(whole);
      recorder.output("output", whole);
    } else {
      recorder.input(name, whole.find(name.substring(prefix.length() + 1)));
    }
  }

  /** The layer that is, or that holds, the named module. */
  private int layerOf(CausalLm lm) {
    for (int i = 0; i < lm.layers().size(); i++) {
      String prefix = lm.layerPrefix(i);
      if (name.equals(prefix) || name.startsWith(prefix + ".")) {
        return i;
      }
    }
    throw new NoSuchElementException(
        "no module '%s'; expected %s to %s, or a part of one"
            .formatted(name, lm.layerPrefix(0), lm.layerPrefix(lm.layers().size() - 1)));
  }

  private static void run(CausalLm lm, int[] window, int last) {
    try (Scope scope = Scope.open()) {
      Tensor hidden = lm.embed(Ops.to(Ops.of(window, window.length), lm.device()));
      LayerArgs args = lm.args(0, window.length);
      for (int i = 0; i <= last; i++) {
        hidden = lm.layers().get(i).apply(hidden, args);
      }
    }
  }
}
