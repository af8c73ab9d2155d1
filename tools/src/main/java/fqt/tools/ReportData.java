package fqt.tools;

import fqt.io.FileFormatException;
import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import fqt.io.TensorEntry;
import fqt.models.ModelConfig;
import fqt.quant.format.ServeCheck;
import fqt.quant.format.ServedLinear;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What the report of a quantized checkpoint says, gathered from the files of its folder. */
final class ReportData {
  private static final int MOST_PROBLEMS = 20;

  private final Path folder;
  private final JsonObject config;
  private final JsonObject quantization;
  private final JsonObject job;
  private final JsonObject perplexity;
  private final List<JsonObject> lines;
  private final Map<String, ServedLinear> stored = new LinkedHashMap<>();
  private final Map<String, Long> bytesOf = new HashMap<>();
  private long bytes;

  private ReportData(Path folder) {
    this.folder = folder;
    config = Json.readObject(folder.resolve(ModelConfig.FILE));
    quantization = config.getObjectOrEmpty("quantization_config");
    JsonObject facts = new JsonObject(ReportFiles.facts(folder), ReportFiles.FACTS);
    job = facts.getObjectOrEmpty("job");
    perplexity = facts.getObjectOrEmpty("perplexity");
    lines = ReportFiles.lines(folder.resolve(QuantizeReport.FILE));
    if (lines.isEmpty()) {
      throw new FileFormatException(
          folder + " holds no " + QuantizeReport.FILE + "; expected a folder that quantize wrote");
    }
    try (Safetensors file = Safetensors.open(folder)) {
      for (TensorEntry entry : file.entries()) {
        bytes += entry.byteSize();
        String tensor = entry.name();
        if (!tensor.endsWith(".bias")) {
          String owner = tensor.substring(0, Math.max(0, tensor.lastIndexOf('.')));
          bytesOf.merge(owner, entry.byteSize(), Long::sum);
        }
      }
      for (ServedLinear linear : ServedLinear.stored(file, quantization.values())) {
        stored.put(linear.name(), linear);
      }
    }
  }

  /**
   * Reads a folder.
   *
   * @throws FileFormatException if quantize did not write it
   */
  static ReportData of(Path folder) {
    return new ReportData(folder);
  }

  /** All of it, as the page's script reads it. */
  Map<String, Object> toMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("title", folder.toAbsolutePath().normalize().getFileName().toString());
    map.put("facts", facts());
    map.put("cards", cards());
    map.put("warnings", warnings());
    map.put("linears", lines.stream().map(this::linear).toList());
    map.put("lossMeaning", lossMeaning());
    List<JsonObject> blocks = ReportFiles.lines(folder.resolve(ReportFiles.BLOCKS));
    map.put("blocks", blocks);
    map.put("activationMeaning", activationMeaning(blocks));
    map.put("folds", ReportFiles.lines(folder.resolve(QuantizeReport.FOLDS)));
    map.put("footer", "Made by " + new Main.Version().getVersion()[0] + ".");
    return map;
  }

  private List<List<String>> facts() {
    List<List<String>> facts = new ArrayList<>();
    add(facts, "Model", job.getString("source", config.getString("model_type", null)));
    JsonObject meta = quantization.getObjectOrEmpty("meta");
    add(facts, "Method", job.getString("method", meta.getString("method", null)));
    add(facts, "Scheme", job.getString("scheme", null));
    add(facts, "Format", job.getString("format", quantization.getString("quant_method", null)));
    add(facts, "Calibration", job.getString("calibration", null));
    add(facts, "Device", job.getString("device", null));
    return facts;
  }

  private static void add(List<List<String>> facts, String name, String value) {
    if (value != null) {
      facts.add(List.of(name, value));
    }
  }

  private List<Object> cards() {
    List<Object> cards = new ArrayList<>();
    cards.add(perplexityCard());
    long before = job.getLong("source_bytes", 0);
    cards.add(
        card(
            "Size of the tensors",
            Units.bytes(bytes),
            before > 0
                ? "%s of %s"
                    .formatted(percent((double) bytes / before, "%.0f"), Units.bytes(before))
                : ""));
    cards.add(bitsCard());
    double inLinears = lines.stream().mapToDouble(line -> line.getDouble("seconds", 0)).sum();
    boolean whole = job.has("seconds");
    cards.add(
        card(
            "Time",
            Units.time(seconds(whole ? job.getDouble("seconds") : inLinears)),
            whole ? Units.time(seconds(inLinears)) + " of it in the linears" : "in the linears"));
    if (job.has("memory_bound")) {
      long peak = job.getLong("memory_peak", 0);
      cards.add(
          card(
              "Memory bound",
              Units.bytes(job.getLong("memory_bound")),
              peak > 0 ? Units.bytes(peak) + " were taken" : ""));
    }
    return cards;
  }

  private Map<String, Object> perplexityCard() {
    if (!perplexity.has("perplexity")) {
      return card("Perplexity", "–", "Not measured; fqt report DIR --data FILE does.");
    }
    double value = perplexity.getDouble("perplexity");
    String note = "on " + perplexity.getString("data");
    if (perplexity.has("base")) {
      double base = perplexity.getDouble("base");
      note =
          "%s from %s, %s".formatted(percent(value / base - 1, "%+.2f"), decimals(base, 4), note);
    }
    return card("Perplexity", decimals(value, 4), note);
  }

  private Map<String, Object> bitsCard() {
    long bits = 0;
    long weights = 0;
    int floating = 0;
    for (ServedLinear linear : stored.values()) {
      if (linear.storage() == null) {
        floating++;
      } else {
        bits += 8 * bytesOf.getOrDefault(linear.name(), 0L);
        weights += linear.inputs() * linear.outputs();
      }
    }
    return card(
        "Bits per weight",
        weights == 0 ? "–" : decimals((double) bits / weights, 2),
        "%d quantized linears, scales included; %d in floating point"
            .formatted(stored.size() - floating, floating));
  }

  private static Map<String, Object> card(String name, String value, String note) {
    Map<String, Object> card = new LinkedHashMap<>();
    card.put("name", name);
    card.put("value", value);
    card.put("note", note);
    return card;
  }

  private static Duration seconds(double seconds) {
    return Duration.ofNanos((long) (seconds * 1e9));
  }

  private static String percent(double share, String pattern) {
    return String.format(Locale.ROOT, pattern, 100 * share) + " %";
  }

  private static String decimals(double value, int count) {
    return String.format(Locale.ROOT, "%." + count + "f", value);
  }

  /** What went wrong with linears, and what a server would say. */
  private List<String> warnings() {
    List<String> warnings = new ArrayList<>();
    for (JsonObject line : lines) {
      for (String note : line.getStrings("notes")) {
        warnings.add(line.getString("linear") + ": " + note);
      }
    }
    boolean served = stored.values().stream().noneMatch(ReportData::isSimulated);
    List<ServeCheck.Problem> problems =
        served ? ServeCheck.problems(List.copyOf(stored.values()), 1) : List.of();
    for (ServeCheck.Problem problem :
        problems.subList(0, Math.min(MOST_PROBLEMS, problems.size()))) {
      warnings.add("vLLM and SGLang will not load this: " + problem);
    }
    if (problems.size() > MOST_PROBLEMS) {
      warnings.add((problems.size() - MOST_PROBLEMS) + " more: fqt inspect DIR --serve vllm");
    }
    if (!served) {
      warnings.add("Format simulated: rounded weights in 16 bit, which no server takes as such.");
    }
    return warnings;
  }

  private static boolean isSimulated(ServedLinear linear) {
    return linear.storage() != null && linear.storage().layout().equals("simulated");
  }

  private Map<String, Object> linear(JsonObject line) {
    Map<String, Object> row = new LinkedHashMap<>();
    String name = line.getString("linear");
    row.put("name", name);
    ServedLinear linear = stored.get(name);
    if (linear != null) {
      row.put("shape", linear.outputs() + " × " + linear.inputs());
      row.put("weights", linear.outputs() * linear.inputs());
    }
    if (linear != null && linear.storage() != null && !isSimulated(linear)) {
      row.put("bits", linear.storage().bits());
    }
    row.put("method", line.getString("method"));
    row.put("loss", line.getDouble("loss"));
    row.put("tokens", line.getLong("tokens"));
    row.put("damping", line.getDouble("damping"));
    row.put("seconds", line.getDouble("seconds"));
    row.put("notes", line.getStrings("notes"));
    return row;
  }

  private String lossMeaning() {
    boolean second = lines.stream().anyMatch(line -> line.getString("method").equals("gptq"));
    String meaning =
        second
            ? "Squared error of the outputs on the calibration text, mean over tokens."
            : "Squared error of the rounded weights.";
    boolean experts =
        lines.stream().anyMatch(line -> line.getString("linear").contains(".experts."));
    return experts ? meaning + " Experts of a layer are added up." : meaning;
  }

  private static String activationMeaning(List<JsonObject> blocks) {
    boolean seen = blocks.stream().anyMatch(block -> !block.getList("surfaces").isEmpty());
    if (seen) {
      return "Magnitudes of one calibration sample, before and after its layer was quantized, the"
          + " largest of each cell. Drag to turn, or use the arrow keys.";
    }
    return blocks.isEmpty()
        ? "Not recorded: fqt quantize --report records what flows into the linears."
        : "Not recorded: the job had no calibration text (--calib FILE).";
  }
}
