package fqt.tools;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.tools.report.ReportPage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The files of an output folder that its report is made from, and the page itself. */
final class ReportFiles {
  /** What the job was and what it took, and the perplexity once it has been measured. */
  static final String FACTS = "fqt_report.json";

  /** A line of JSON a block: what flows into its linears, and smoothing scales. */
  static final String BLOCKS = "fqt_blocks.jsonl";

  /** The page. */
  static final String PAGE = "report.html";

  private ReportFiles() {}

  /** The lines of a file of JSON lines; none if there is no such file. */
  static List<JsonObject> lines(Path file) {
    List<JsonObject> lines = new ArrayList<>();
    if (Files.exists(file)) {
      try {
        for (String text : Files.readAllLines(file)) {
          lines.add(JsonObject.of(Json.parse(text, file.toString()), file.toString()));
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return lines;
  }

  /** The facts of a folder, to be changed; empty if there are none yet. */
  static Map<String, Object> facts(Path folder) {
    Path file = folder.resolve(FACTS);
    return Files.exists(file)
        ? new LinkedHashMap<>(Json.readObject(file).values())
        : new LinkedHashMap<>();
  }

  /** Writes one part of the facts, in place of what was there under its name. */
  static void put(Path folder, String name, Map<String, Object> part) {
    Map<String, Object> facts = facts(folder);
    facts.put(name, part);
    Json.write(folder.resolve(FACTS), facts);
  }

  /**
   * Makes the page from what the folder holds.
   *
   * @return where the page is
   */
  static Path writePage(Path folder) {
    Path page = folder.resolve(PAGE);
    try {
      Files.writeString(page, ReportPage.html(ReportData.of(folder).toMap()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return page;
  }
}
