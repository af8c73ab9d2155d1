package fqt.tools.report;

import fqt.io.Json;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** One HTML file with data, styles and script in it. */
public final class ReportPage {
  private ReportPage() {}

  /**
   * {@return the page}
   *
   * @param data what {@code report.js} shows, as JSON has it
   */
  public static String html(Map<String, Object> data) {
    // A "</script>" inside of the data would end it.
    String json = Json.write(data).replace("<", "\\u003c");
    return resource("report.html")
        .replace("/*STYLE*/", resource("report.css"))
        .replace("/*SCRIPT*/", resource("report.js"))
        .replace("/*DATA*/", json);
  }

  private static String resource(String name) {
    try (InputStream in = ReportPage.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
