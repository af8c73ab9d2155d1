package fqt.tools;

import fqt.io.Safetensors;
import fqt.io.TensorEntry;
import fqt.models.CausalLm;
import fqt.quant.CalibrationInputs;
import fqt.quant.GptqConfig;
import fqt.quant.Scheme;
import fqt.quant.format.CheckpointFormat;
import fqt.quant.format.GptqFormat;
import fqt.quant.rules.LinearRules;
import fqt.tensor.DType;
import fqt.tensor.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code fqt demo}: the embedded model, quantized three ways. */
@Command(
    name = "demo",
    description = "Quantizes the embedded model three ways and prints what that does to it.")
final class DemoCommand implements Callable<Integer> {
  private static final int LENGTH = 256;

  /** One row of the table. */
  private record Way(Method method, int bits) {
    String scheme() {
      return "w" + bits + "a16";
    }

    String name() {
      return method + "-" + scheme();
    }
  }

  private static final List<Way> WAYS =
      List.of(new Way(Method.RTN, 4), new Way(Method.GPTQ, 4), new Way(Method.GPTQ, 8));

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "Keep model, texts and results in this folder instead of deleting them.")
  private Path out;

  @Spec private CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    if (out != null) {
      run(Files.createDirectories(out));
      return 0;
    }
    Path folder = Files.createTempDirectory("fqt-demo");
    try {
      run(folder);
    } finally {
      WorkFolder.deleteTree(folder);
    }
    return 0;
  }

  private void run(Path folder) {
    PrintWriter err = spec.commandLine().getErr();
    DemoFiles.copyAll(folder);
    Path source = folder.resolve("model");
    Table table = new Table("method", "scheme", "perplexity", "change", "tensors", "time");
    try (CausalLm model = CausalLm.load(source, Device.CPU)) {
      List<int[]> text = ids(folder.resolve("eval_ids.safetensors"), model).windows(LENGTH);
      List<int[]> samples = ids(folder.resolve("calib_ids.safetensors"), model).windows(LENGTH);
      double before = EvalCommand.measure(model, text, err).perplexity().value();
      table.row("none", "bf16", number(before), "", size(source), "");
      for (Way way : WAYS) {
        Path destination = folder.resolve(way.name());
        QuantizeJob.Plan plan = plan(way, source, destination, samples);
        QuantizeJob.Result result = QuantizeJob.run(List.of(model), plan, err);
        double after = perplexity(destination, text, err);
        table.row(
            way.method(),
            way.scheme(),
            number(after),
            String.format(Locale.ROOT, "%+.2f %%", 100 * (after / before - 1)),
            Units.bytes(result.bytes()),
            Units.time(result.time()));
      }
    }
    spec.commandLine().getOut().print(table);
  }

  private static TokenData ids(Path file, CausalLm model) {
    return TokenData.load(
        file.toString(),
        () -> {
          throw new IllegalStateException("the embedded texts are token ids already");
        },
        model.config().text().vocabulary());
  }

  private static QuantizeJob.Plan plan(
      Way way, Path source, Path destination, List<int[]> samples) {
    CheckpointFormat format = new GptqFormat();
    Scheme scheme = format.prepare(Scheme.weightOnly(way.bits(), 128), DType.BF16);
    return new QuantizeJob.Plan(
        source,
        destination,
        way.method(),
        LinearRules.all(scheme),
        format,
        GptqConfig.defaults(),
        samples,
        List.of(),
        CalibrationInputs.Keeping.F32,
        Long.MAX_VALUE,
        true,
        false);
  }

  private static double perplexity(Path checkpoint, List<int[]> text, PrintWriter err) {
    try (CausalLm model = CausalLm.load(checkpoint, Device.CPU)) {
      return EvalCommand.measure(model, text, err).perplexity().value();
    }
  }

  private static String size(Path checkpoint) {
    try (Safetensors file = Safetensors.open(checkpoint)) {
      return Units.bytes(file.entries().stream().mapToLong(TensorEntry::byteSize).sum());
    }
  }

  private static String number(double perplexity) {
    return String.format(Locale.ROOT, "%.4f", perplexity);
  }
}
