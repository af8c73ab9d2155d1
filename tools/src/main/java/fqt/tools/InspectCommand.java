package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import fqt.io.TensorEntry;
import fqt.io.TensorSource;
import fqt.quant.format.ServeCheck;
import fqt.quant.format.ServedLinear;
import fqt.tensor.Tensor;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code fqt inspect}: what a checkpoint or a safetensors file holds, from its headers alone. */
@Command(
    name = "inspect",
    description = "Lists the tensors of a checkpoint or file, and how it is quantized.")
final class InspectCommand implements Callable<Integer> {
  @Parameters(
      paramLabel = "PATH",
      description =
          "Checkpoint folder, .safetensors, .index.json, or PyTorch's .bin, .pt, .pth and .pkl.")
  private Path path;

  @Option(
      names = "--serve",
      paramLabel = "SERVER",
      description = "Check instead whether vllm or sglang loads the checkpoint.")
  private Server server;

  @Option(
      names = "--tp",
      paramLabel = "N",
      defaultValue = "1",
      description = "Tensor-parallel ranks for --serve (default: 1).")
  private int ranks;

  @Spec private CommandSpec spec;

  /** Who loads checkpoints; their rules are the same so far. */
  enum Server {
    VLLM,
    SGLANG
  }

  @Override
  public Integer call() {
    Options.atLeast(spec, "--tp", ranks, 1);
    PrintWriter out = spec.commandLine().getOut();
    if (server != null) {
      return serve(out);
    }
    Path config = path.resolve("config.json");
    if (Files.isDirectory(path) && Files.exists(config)) {
      summary(out, Json.readObject(config));
    }
    Collection<TensorEntry> entries = entries();
    Table table = new Table("tensor", "type", "shape", "bytes");
    for (TensorEntry entry : entries) {
      table.row(entry.name(), entry.format(), entry.shape(), entry.byteSize());
    }
    out.print(table);
    out.println();
    totals(out, entries);
    return 0;
  }

  /** What the headers of safetensors say, or the tensors of PyTorch's files. */
  private Collection<TensorEntry> entries() {
    try (NamedTensors tensors = NamedTensors.open(path)) {
      if (tensors.source() instanceof Safetensors file) {
        return List.copyOf(file.entries());
      }
      return tensors.names().stream().map(name -> entry(name, tensors.get(name))).toList();
    }
  }

  private TensorEntry entry(String name, Tensor tensor) {
    return new TensorEntry(
        name, tensor.dtype().toString(), tensor.shape(), 0, tensor.byteSize(), path);
  }

  /** Lists what breaks a rule of the server; code 1 if anything does. */
  private int serve(PrintWriter out) {
    JsonObject config = Json.readObject(path.resolve("config.json"));
    try (TensorSource file = TensorSource.open(path)) {
      List<ServeCheck.Problem> problems =
          ServeCheck.problems(
              ServedLinear.stored(file, config.getObjectOrEmpty("quantization_config").values()),
              ranks);
      problems.forEach(out::println);
      out.printf(
          "%d problems for %s with %d ranks%n",
          problems.size(), server.name().toLowerCase(Locale.ROOT), ranks);
      return problems.isEmpty() ? 0 : 1;
    }
  }

  private static void summary(PrintWriter out, JsonObject config) {
    out.println("model         " + config.getString("model_type", "of unknown type"));
    if (config.has(RandomModelCommand.SEED)) {
      out.printf(
          "weights       random, from seed %d of fqt random-model%n",
          config.getLong(RandomModelCommand.SEED));
    }
    JsonObject quantization = config.getObjectOrEmpty("quantization_config");
    String plain =
        quantization.values().entrySet().stream()
            .filter(entry -> entry.getValue() != null)
            .map(entry -> entry.getKey() + "=" + Json.write(entry.getValue()))
            .collect(Collectors.joining(" "));
    out.println("quantization  " + (plain.isEmpty() ? "none" : plain));
    out.println();
  }

  private static void totals(PrintWriter out, Collection<TensorEntry> entries) {
    Map<String, long[]> byType = new TreeMap<>();
    for (TensorEntry entry : entries) {
      long[] sum = byType.computeIfAbsent(entry.format(), unused -> new long[3]);
      sum[0]++;
      sum[1] += entry.shape().count();
      sum[2] += entry.byteSize();
    }
    Table table = new Table("type", "tensors", "elements", "size");
    long bytes = 0;
    for (Map.Entry<String, long[]> type : byType.entrySet()) {
      long[] sum = type.getValue();
      table.row(type.getKey(), sum[0], sum[1], Units.bytes(sum[2]));
      bytes += sum[2];
    }
    out.print(table);
    out.printf("%d tensors, %s%n", entries.size(), Units.bytes(bytes));
  }
}
