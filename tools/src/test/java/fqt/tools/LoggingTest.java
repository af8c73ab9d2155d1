package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.models.CausalLm;
import fqt.tensor.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LoggingTest {
  private static final System.Logger LOG = System.getLogger("fqt.test");

  @TempDir Path folder;

  @Test
  void theFileHasAllAndTheTerminalWarnings() throws IOException {
    Path file = folder.resolve("run.log");
    StringWriter terminal = new StringWriter();
    for (int run = 0; run < 2; run++) {
      try (Logging warnings = Logging.toTerminal(new PrintWriter(terminal));
          Logging log = Logging.toFile(file)) {
        LOG.log(System.Logger.Level.DEBUG, "a {0} detail");
        LOG.log(System.Logger.Level.INFO, () -> "a step");
        LOG.log(System.Logger.Level.WARNING, "a %s doubt");
        LOG.log(System.Logger.Level.TRACE, "too much");
      }
      LOG.log(System.Logger.Level.DEBUG, "after the end");
    }
    List<String> lines = Files.readAllLines(file);
    assertEquals(6, lines.size(), lines.toString());
    String time = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{3} ";
    assertTrue(lines.get(0).matches(time + "DEBUG   fqt\\.test: a \\{0} detail"), lines.get(0));
    assertTrue(lines.get(1).matches(time + "INFO    fqt\\.test: a step"), lines.get(1));
    assertTrue(lines.get(5).matches(time + "WARNING fqt\\.test: a %s doubt"), lines.get(5));
    assertEquals("warning: a %s doubt\n".repeat(2), terminal.toString());
  }

  @Test
  void aModelSaysWhatItIs() throws IOException {
    Path file = folder.resolve("model.log");
    Path model = Path.of(System.getProperty("fqt.fixtures"), "tiny-qwen2");
    try (Logging log = Logging.setup(file)) {
      CausalLm.load(model, Device.CPU).close();
    }
    String line = Files.readString(file);
    assertTrue(line.contains("DEBUG   fqt.models: " + model + ": qwen2, 4 layers, "), line);
  }

  @Test
  void quantizeLogsEveryLinearWithItsError() throws IOException {
    Path out = folder.resolve("out");
    String fixtures = System.getProperty("fqt.fixtures");
    CommandRun run =
        CommandRun.of(
            "quantize",
            fixtures + "/tiny-qwen2",
            "--out",
            out.toString(),
            "--method",
            "gptq",
            "--samples",
            "1",
            "--calib",
            fixtures + "/calib_ids.safetensors");
    assertEquals(0, run.code(), run.err());
    List<String> lines = Files.readAllLines(out.resolve(WorkFolder.LOG));
    assertEquals(
        28,
        lines.stream().filter(line -> line.matches(".* gptq, loss \\d.* 256 tokens, .*")).count(),
        String.join("\n", lines));
    assertTrue(lines.getFirst().contains("INFO    fqt.tools: program: fqt"), lines.getFirst());
    assertTrue(lines.getLast().endsWith("complete: " + out), lines.getLast());
  }
}
