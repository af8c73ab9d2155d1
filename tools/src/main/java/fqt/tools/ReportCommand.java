package fqt.tools;

import fqt.models.CausalLm;
import fqt.tensor.Backends;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt report}: a page about a checkpoint that quantize wrote. */
@Command(
    name = "report",
    description = {
      "Writes report.html into a folder that quantize wrote: one page without any other file.",
      "It shows activations and smoothing scales if quantize was run with --report, and the"
          + " perplexity once it was measured with --data."
    })
final class ReportCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @Option(
      names = "--data",
      paramLabel = "FILE",
      description = "Measure the perplexity on this text first. " + Options.DATA_HELP)
  private String data;

  @Option(
      names = "--base",
      paramLabel = "MODEL",
      description = "With --data: the model before quantization, to compare with.")
  private Path base;

  @Option(
      names = "--seq-len",
      paramLabel = "N",
      description = "Tokens of a window (default: 2048, or as many as the model was made for).")
  private Integer length;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Options.atLeast(spec, "--seq-len", length, 2);
    if (base != null && data == null) {
      throw Options.wrong(spec, "--base needs --data FILE to measure both models on");
    }
    // What is no output of quantize is refused before a long measurement.
    ReportData.of(model.folder());
    if (data != null) {
      measure();
    }
    Path page = ReportFiles.writePage(model.folder());
    spec.commandLine().getOut().printf("wrote %s%n", page);
    return 0;
  }

  private void measure() {
    Map<String, Object> facts = perplexity(model.folder());
    facts.put("data", Path.of(data).getFileName().toString());
    if (base != null) {
      facts.put("base", perplexity(base).get("perplexity"));
    }
    ReportFiles.put(model.folder(), "perplexity", facts);
  }

  private Map<String, Object> perplexity(Path folder) {
    Backends.of(model.device());
    PrintWriter err = spec.commandLine().getErr();
    try (CausalLm lm = CausalLm.load(folder, model.device())) {
      TokenData tokens = model.data(data, lm);
      List<int[]> windows = tokens.windows(ModelOptions.windowLength(length, lm));
      return EvalCommand.measure(lm, windows, err).toMap();
    }
  }
}
