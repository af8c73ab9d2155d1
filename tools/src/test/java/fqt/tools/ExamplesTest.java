package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.Safetensors;
import fqt.io.SafetensorsWriter;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The examples, compiled and run as they stand. */
class ExamplesTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final int MOST_LINES = 30;

  @TempDir Path folder;

  @Test
  void quantizeMoe() throws IOException, InterruptedException {
    Path calibration = folder.resolve("calibration.safetensors");
    Path test = folder.resolve("test.safetensors");
    writeIds("calib_ids.safetensors", 8, calibration);
    writeIds("eval_ids.safetensors", 2048, test);
    List<String> lines =
        run(
                "QuantizeMoe",
                FIXTURES.resolve("tiny-qwen2moe").toString(),
                calibration.toString(),
                test.toString())
            .lines()
            .filter(line -> line.contains(": "))
            .toList();
    double before = Double.parseDouble(after("before: ", lines));
    double after = Double.parseDouble(after("after: ", lines));
    assertTrue(before > 1.5 && before < 2, "perplexity " + before);
    assertEquals(before, after, 0.02 * before);
  }

  private static String after(String label, List<String> lines) {
    return lines.stream()
        .filter(line -> line.startsWith(label))
        .findFirst()
        .orElseThrow()
        .substring(label.length());
  }

  @Test
  void compressQwen() throws IOException, InterruptedException {
    Path recorded = Files.createDirectory(folder.resolve("recorded"));
    String output =
        run(
            "CompressQwen",
            FIXTURES.resolve("tiny-qwen2").toString(),
            recorded.toString(),
            "The store has 12 apples",
            "Each box weighs");
    assertFalse(output.isBlank());
    try (var files = Files.list(recorded)) {
      assertEquals(2, files.count());
    }
  }

  private static void writeIds(String from, long rows, Path to) {
    try (Safetensors file = Safetensors.open(FIXTURES.resolve(from))) {
      Tensor ids = file.get("ids").slice(0, 0, rows);
      SafetensorsWriter.writeFile(to, Map.of("ids", ids), Map.of());
    }
  }

  private static String run(String example, String... arguments)
      throws IOException, InterruptedException {
    Path program = FIXTURES.resolveSibling("tools/examples/" + example + ".java");
    assertTrue(Files.readAllLines(program).size() <= MOST_LINES, example + " is too long");
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-p",
                System.getProperty("jdk.module.path"),
                "--add-modules",
                "fqt.models,fqt.quant",
                program.toString()));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    return output;
  }
}
