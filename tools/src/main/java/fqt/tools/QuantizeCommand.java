package fqt.tools;

import fqt.models.CausalLm;
import fqt.quant.GptqConfig;
import fqt.quant.Scheme;
import fqt.quant.SchemeRules;
import fqt.quant.format.CheckpointFormat;
import fqt.quant.format.GptqFormat;
import fqt.tensor.DType;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt quantize}: the options of the main job. */
@Command(
    name = "quantize",
    description = {
      "Quantizes a checkpoint layer by layer and writes one that servers load.",
      "The output folder appears when it is complete; an interrupted run leaves nothing behind."
    })
final class QuantizeCommand implements Callable<Integer> {
  @Mixin private ModelOptions model;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Folder to make; it must not hold files yet.")
  private Path out;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      defaultValue = "gptq",
      description = "gptq or rtn (round to nearest, needs no calibration); default: gptq.")
  private QuantizeJob.Method method;

  @Option(
      names = "--scheme",
      paramLabel = "SCHEME",
      defaultValue = "w4a16",
      description = "Bits of weights and activations: w4a16 or w8a16 (default: w4a16).")
  private String scheme;

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      defaultValue = "gptq",
      description = "How the checkpoint is stored: gptq (default: gptq).")
  private String format;

  @Option(
      names = "--group-size",
      paramLabel = "N",
      defaultValue = "128",
      description = "Inputs that share a scale, -1 for all of a row (default: 128).")
  private long groupSize;

  @Option(names = "--calib", paramLabel = "FILE", description = Options.DATA_HELP)
  private String calibration;

  @Option(
      names = "--samples",
      paramLabel = "N",
      defaultValue = "128",
      description = "Windows to calibrate with (default: 128).")
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
    if (groupSize < 1 && groupSize != -1) {
      throw Options.wrong(spec, "--group-size is " + groupSize + "; expected 1 or more, or -1");
    }
    if (calibration == null && method != QuantizeJob.Method.RTN) {
      throw Options.wrong(spec, "--method gptq needs --calib FILE");
    }
    PrintWriter err = spec.commandLine().getErr();
    Scheme wanted = scheme();
    CheckpointFormat chosen = format();
    try (CausalLm lm = model.load()) {
      List<int[]> drawn = drawn(lm, err);
      DType stored = lm.tensors().get("model.embed_tokens.weight").dtype();
      SchemeRules rules = SchemeRules.all(chosen.prepare(wanted, stored));
      QuantizeJob.Plan plan =
          new QuantizeJob.Plan(
              model.folder(),
              out,
              method,
              rules,
              chosen,
              GptqConfig.defaults(),
              drawn,
              5_000_000_000L);
      err.println(MemoryBound.of(lm, plan));
      QuantizeJob.Result result = QuantizeJob.run(lm, plan, err);
      print(spec.commandLine().getOut(), result);
    }
    return 0;
  }

  private Scheme scheme() {
    return switch (scheme) {
      case "w4a16" -> Scheme.weightOnly(4, groupSize);
      case "w8a16" -> Scheme.weightOnly(8, groupSize);
      default -> throw Options.wrong(spec, "--scheme is '" + scheme + "'; expected w4a16 or w8a16");
    };
  }

  private CheckpointFormat format() {
    if (!format.equals("gptq")) {
      throw Options.wrong(spec, "--format is '" + format + "'; expected gptq");
    }
    return new GptqFormat();
  }

  private List<int[]> drawn(CausalLm lm, PrintWriter err) {
    if (method == QuantizeJob.Method.RTN) {
      return List.of();
    }
    TokenData data = model.data(calibration, lm);
    List<int[]> drawn = data.sample(samples, ModelOptions.windowLength(length, lm), seed);
    int tokens = drawn.getFirst().length;
    err.printf("calibration: %d samples of %d tokens from %s", drawn.size(), tokens, calibration);
    err.println(drawn.size() < samples ? ", which holds no more" : "");
    return drawn;
  }

  private void print(PrintWriter stdout, QuantizeJob.Result result) {
    stdout.print(QuantizeReport.table(result.linears()));
    stdout.printf(
        "%nwrote %s: %d linears, %s of tensors, %s%n",
        out, result.linears().size(), Units.bytes(result.bytes()), Units.time(result.time()));
  }
}
