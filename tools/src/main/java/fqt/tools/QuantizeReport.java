package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.quant.report.FoldReport;
import fqt.quant.report.LinearReport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/** What a job says of each linear: a table for people, lines of JSON for programs. */
final class QuantizeReport {
  /** Name of the file of JSON lines in the output folder. */
  static final String FILE = "fqt_linears.jsonl";

  /** Name of the file that tells what smoothing did, written if there was any. */
  static final String FOLDS = "fqt_smoothing.jsonl";

  private QuantizeReport() {}

  /** One row a linear, its notes below the table. */
  static String table(List<LinearReport> reports) {
    Table table = new Table("linear", "method", "loss", "tokens", "damping", "time");
    StringBuilder notes = new StringBuilder();
    for (LinearReport report : reports) {
      table.row(
          report.name(),
          report.method(),
          String.format(Locale.ROOT, "%.5g", report.loss()),
          report.tokens(),
          String.format(Locale.ROOT, "%.4g", report.damping()),
          String.format(Locale.ROOT, "%.2f s", report.seconds()));
      for (String note : report.notes()) {
        notes.append(report.name()).append(": ").append(note).append(System.lineSeparator());
      }
    }
    return table.toString() + notes;
  }

  /** Writes the lines of JSON into a folder. */
  static void write(Path folder, List<LinearReport> linears, List<FoldReport> folds) {
    try {
      Files.write(folder.resolve(FILE), lines(linears.stream().map(QuantizeReport::map)));
      if (!folds.isEmpty()) {
        Files.write(folder.resolve(FOLDS), lines(folds.stream().map(QuantizeReport::map)));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<String> lines(Stream<Map<String, Object>> maps) {
    return maps.map(Json::write).toList();
  }

  /** A report as JSON has it. */
  static Map<String, Object> map(LinearReport report) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("linear", report.name());
    line.put("method", report.method());
    line.put("loss", report.loss());
    line.put("tokens", report.tokens());
    line.put("damping", report.damping());
    line.put("seconds", report.seconds());
    line.put("notes", report.notes());
    return line;
  }

  /** The report that {@link #map(LinearReport)} made JSON of. */
  static LinearReport linear(JsonObject line) {
    return new LinearReport(
        line.getString("linear"),
        line.getString("method"),
        line.getDouble("loss"),
        line.getLong("tokens"),
        line.getDouble("damping"),
        line.getDouble("seconds"),
        line.getStrings("notes"));
  }

  /** A report as JSON has it. */
  static Map<String, Object> map(FoldReport report) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("producer", report.producer());
    line.put("consumers", report.consumers());
    line.put("ratio", finite(report.ratio()));
    line.put("loss_before", finite(report.lossBefore()));
    line.put("loss", finite(report.loss()));
    line.put("seconds", report.seconds());
    return line;
  }

  /** The report that {@link #map(FoldReport)} made JSON of, without factors. */
  static FoldReport fold(JsonObject line) {
    return new FoldReport(
        line.getString("producer"),
        line.getStrings("consumers"),
        line.getDouble("ratio", Double.NaN),
        null,
        line.getDouble("loss_before", Double.NaN),
        line.getDouble("loss", Double.NaN),
        line.getDouble("seconds"));
  }

  /** JSON has no NaN. */
  private static Object finite(double value) {
    return Double.isFinite(value) ? value : null;
  }
}
