package fqt.tools;

import fqt.io.Json;
import fqt.models.CausalLm;
import fqt.models.Perplexity;
import fqt.tensor.Ops;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt eval}: perplexity of a model on a text. */
@Command(
    name = "eval",
    description = {
      "Prints the perplexity of a model, quantized or not, on a text.",
      "The text is cut into windows without overlap, the tail dropped; each window of N tokens"
          + " makes N - 1 predictions."
    })
final class EvalCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @Option(names = "--data", required = true, paramLabel = "FILE", description = Options.DATA_HELP)
  private String data;

  @Option(
      names = "--seq-len",
      paramLabel = "N",
      description = "Tokens of a window (default: 2048, or as many as the model was made for).")
  private Integer length;

  @Option(names = "--json", description = "Print one line of JSON.")
  private boolean json;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Options.atLeast(spec, "--seq-len", length, 2);
    PrintWriter out = spec.commandLine().getOut();
    try (CausalLm lm = model.load()) {
      TokenData tokens = model.data(data, lm);
      List<int[]> windows = tokens.windows(ModelOptions.windowLength(length, lm));
      Measured measured = measure(lm, windows, spec.commandLine().getErr());
      out.println(json ? Json.write(measured.toMap()) : measured.toString());
    }
    return 0;
  }

  /**
   * A perplexity and what it was measured on.
   *
   * @param length tokens of a window
   */
  record Measured(Perplexity perplexity, int windows, int length, Duration time) {
    Map<String, Object> toMap() {
      Map<String, Object> map = new LinkedHashMap<>();
      map.put("perplexity", perplexity.value());
      map.put("loss", perplexity.meanLoss());
      map.put("predictions", perplexity.predictions());
      map.put("windows", windows);
      map.put("seq_len", length);
      map.put("seconds", time.toNanos() / 1e9);
      return map;
    }

    @Override
    public String toString() {
      return "perplexity %.4f (loss %.5f, %d predictions in %d windows of %d tokens, %s)"
          .formatted(
              perplexity.value(),
              perplexity.meanLoss(),
              perplexity.predictions(),
              windows,
              length,
              Units.time(time));
    }
  }

  /** Measures over windows of one length. */
  static Measured measure(CausalLm model, List<int[]> windows, PrintWriter err) {
    int length = windows.getFirst().length;
    int[] ids = new int[Math.multiplyExact(windows.size(), length)];
    for (int i = 0; i < windows.size(); i++) {
      System.arraycopy(windows.get(i), 0, ids, i * length, length);
    }
    long start = System.nanoTime();
    try (Progress progress = new Progress(err, "window", windows.size())) {
      Perplexity perplexity =
          Perplexity.of(
              model, Ops.of(ids, ids.length), length, (done, all) -> progress.at(done, ""));
      return new Measured(
          perplexity, windows.size(), length, Duration.ofNanos(System.nanoTime() - start));
    }
  }
}
