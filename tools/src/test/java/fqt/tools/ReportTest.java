package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Json;
import fqt.io.JsonObject;
import fqt.io.Safetensors;
import fqt.tensor.Scope;
import fqt.tools.plot.Grid;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The report of a quantized model, from its files up to what a browser makes of the page. */
class ReportTest {
  private static final String FIXTURES = System.getProperty("fqt.fixtures");
  private static final String MODEL = FIXTURES + "/tiny-qwen2";
  private static final String CALIB = FIXTURES + "/calib_ids.safetensors";

  /** A name that would begin a tag, if the page were careless. */
  private static final String NAME = "<script>w8a8 & <b>";

  @TempDir static Path folder;

  private static Path smoothed;

  @BeforeAll
  static void quantize() {
    smoothed = folder.resolve(NAME);
    run(
        "quantize",
        MODEL,
        "--out",
        smoothed,
        "--method",
        "smoothquant",
        "--calib",
        CALIB,
        "--samples",
        1,
        "--report");
  }

  private static CommandRun run(Object... arguments) {
    List<String> line = new ArrayList<>();
    for (Object argument : arguments) {
      line.add(argument.toString());
    }
    CommandRun run = CommandRun.of(line.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    return run;
  }

  @Test
  void reportsChangeNothingInTheCheckpoint() throws IOException {
    Path plain = folder.resolve("plain");
    run(
        "quantize",
        MODEL,
        "--out",
        plain,
        "--method",
        "smoothquant",
        "--calib",
        CALIB,
        "--samples",
        1);
    for (String name : List.of("model.safetensors", "config.json")) {
      assertEquals(-1, Files.mismatch(plain.resolve(name), smoothed.resolve(name)), name);
    }
    assertFalse(Files.exists(plain.resolve(ReportFiles.PAGE)));
  }

  @Test
  void surfacesAreWhatTheLinearsAreFed() {
    Path recorded = folder.resolve("recorded");
    run(
        "record",
        MODEL,
        "--data",
        CALIB,
        "--samples",
        1,
        "--module",
        "model.layers.0.self_attn.q_proj",
        "--out",
        recorded);
    List<JsonObject> blocks = ReportFiles.lines(smoothed.resolve(ReportFiles.BLOCKS));
    assertEquals(4, blocks.size());
    List<JsonObject> surfaces = blocks.getFirst().getObjects("surfaces");
    assertEquals(
        List.of("q_proj, k_proj, v_proj", "o_proj", "gate_proj, up_proj", "down_proj"),
        surfaces.stream().map(surface -> surface.getString("name")).toList());
    JsonObject before = surfaces.getFirst().getObject("before");
    try (Scope scope = Scope.open();
        Safetensors file = Safetensors.open(recorded.resolve("00000.safetensors"))) {
      Grid grid = Grid.of(file.get(file.names().iterator().next()), 32, 96);
      assertEquals(grid.max(), before.getDouble("max"), 1e-6);
      byte[] cells = Base64.getDecoder().decode(before.getString("data"));
      for (int i = 0; i < cells.length; i++) {
        float expected = grid.cells()[i] / grid.max() * 255;
        assertEquals(expected, cells[i] & 0xff, 0.501, "cell " + i);
      }
    }
    assertTrue(blocks.stream().anyMatch(ReportTest::isSmoothed), "no surface changed");
    JsonObject scale =
        blocks.stream().flatMap(block -> block.getObjects("scales").stream()).findFirst().get();
    assertTrue(scale.getString("producer").startsWith("model.layers."));
    assertEquals(scale.getInt("channels"), scale.getList("values").size());
    assertTrue(scale.getDouble("min") < 1 && scale.getDouble("max") > 1, scale.toString());
  }

  private static boolean isSmoothed(JsonObject block) {
    return block.getObjects("surfaces").stream()
        .anyMatch(
            surface ->
                surface.getObject("before").getDouble("max")
                    > 1.05 * surface.getObject("after").getDouble("max"));
  }

  @Test
  void perplexityIsMeasuredOnceAndKept() throws IOException {
    Path out = folder.resolve("rtn");
    run("quantize", MODEL, "--out", out, "--method", "rtn", "--report");
    run("report", out, "--data", CALIB, "--base", MODEL);
    run("report", out);
    Map<String, Object> data = ReportData.of(out).toMap();
    JsonObject perplexity = new JsonObject(ReportFiles.facts(out), "facts").getObject("perplexity");
    assertTrue(perplexity.getDouble("perplexity") > perplexity.getDouble("base"));
    String text = Json.write(data);
    assertTrue(text.contains("calib_ids.safetensors"), text);
    assertTrue(text.contains("the job had no calibration text"), text);
    assertTrue(text.contains("\"Bits per weight\",\"value\":\"4.34"), text);
    assertTrue(Files.readString(out.resolve(ReportFiles.PAGE)).contains("calib_ids.safetensors"));
  }

  @Test
  void otherFoldersAreRefused() {
    CommandRun run = CommandRun.of("report", MODEL);
    assertEquals(1, run.code());
    assertTrue(run.err().contains("expected a folder that quantize wrote"), run.err());
    assertEquals(2, CommandRun.of("report", MODEL, "--base", MODEL).code());
  }

  @Test
  void worksInABrowser(@TempDir Path profile) throws IOException {
    try (Browser browser = Browser.start(profile)) {
      browser.screen(1180, 900, false);
      browser.show(smoothed.resolve(ReportFiles.PAGE));
      assertEquals("true", browser.run("return document.body.dataset.ready"));
      assertEquals(NAME, browser.run("return document.querySelector('h1').innerText"));
      assertEquals(5L, browser.run("return document.querySelectorAll('.card').length"));
      assertEquals(28L, browser.run("return document.querySelectorAll('tbody tr').length"));
      assertEquals(7L, browser.run("return document.querySelectorAll('polyline').length"));
      assertTableSorts(browser);
      assertSurfacesTurn(browser);
      assertReadableOnAPhone(browser);
      assertEquals(0L, browser.run("return performance.getEntriesByType('resource').length"));
      assertEquals(List.of(), browser.console());
    }
  }

  private static void assertTableSorts(Browser browser) throws IOException {
    List<String> losses = losses(browser, 0);
    List<String> falling = losses(browser, 1);
    List<String> rising = losses(browser, 1);
    assertNotEquals(losses, falling);
    List<String> expected = new ArrayList<>(losses);
    expected.sort((a, b) -> Double.compare(Double.parseDouble(b), Double.parseDouble(a)));
    assertEquals(expected, falling);
    Collections.reverse(expected);
    assertEquals(expected, rising);
    browser.run(
        "const f = document.querySelector('#filter'); f.value = 'layers.2.mlp';"
            + " f.dispatchEvent(new Event('input'))");
    assertEquals(3, losses(browser, 0).size());
  }

  /** The column of losses after some clicks on its head. */
  private static List<String> losses(Browser browser, int clicks) throws IOException {
    List<?> cells =
        (List<?>)
            browser.run(
                "const head = [...document.querySelectorAll('th')];"
                    + " const at = head.findIndex(cell => cell.innerText.startsWith('Loss'));"
                    + " for (let i = 0; i < %d; i++) head[at].firstChild.click();".formatted(clicks)
                    + " return [...document.querySelectorAll('tbody tr')]"
                    + ".map(row => row.cells[at].innerText)");
    return cells.stream().map(String::valueOf).toList();
  }

  private static void assertSurfacesTurn(Browser browser) throws IOException {
    String before = picture(browser, "before");
    String after = picture(browser, "after");
    browser.drag("#before", 80, 30);
    assertEquals("357.0", browser.run("return document.querySelector('#before').dataset.turn"));
    assertEquals("40.5", browser.run("return document.querySelector('#after').dataset.tilt"));
    assertNotEquals(before, picture(browser, "before"));
    assertNotEquals(after, picture(browser, "after"));
    browser.run("document.querySelector('#reset-view').click()");
    browser.awaitDrawing();
    assertEquals(before, picture(browser, "before"));
    // down_proj of the last layer, which has the largest outliers: there is much to smooth.
    choose(browser, "#surface-layer", 3);
    choose(browser, "#surface-linear", 3);
    assertNotEquals(before, picture(browser, "before"));
    assertNotEquals(picture(browser, "before"), picture(browser, "after"));
  }

  private static void choose(Browser browser, String list, int value) throws IOException {
    browser.run(
        "const s = document.querySelector('%s'); s.value = '%d'; s.dispatchEvent(new Event('change'))"
            .formatted(list, value));
    browser.awaitDrawing();
  }

  /** Length and checksum of what a canvas shows. */
  private static String picture(Browser browser, String canvas) throws IOException {
    String data =
        (String) browser.run("return document.querySelector('#" + canvas + "').toDataURL()");
    return data.length() + " " + data.hashCode();
  }

  private static void assertReadableOnAPhone(Browser browser) throws IOException {
    String paper = "return getComputedStyle(document.body).backgroundColor";
    Object light = browser.run(paper);
    browser.screen(390, 844, true);
    assertNotEquals(light, browser.run(paper));
    Number width = (Number) browser.run("return document.documentElement.scrollWidth");
    assertTrue(width.intValue() <= 390, "the page is " + width + " wide");
    Number text =
        (Number) browser.run("return parseFloat(getComputedStyle(document.body).fontSize)");
    assertTrue(text.doubleValue() >= 16);
  }
}
