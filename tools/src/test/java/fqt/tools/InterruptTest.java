package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A job that is stopped in the middle leaves its destination as it was. */
@DisabledOnOs(OS.WINDOWS)
class InterruptTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));

  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void theDestinationIsUntouched(boolean forcibly) throws IOException, InterruptedException {
    Path out = folder.resolve("out");
    Process process = start(out);
    try (BufferedReader output = process.inputReader()) {
      String line = output.readLine();
      while (line != null && !line.startsWith("layer 1/")) {
        line = output.readLine();
      }
      assertNotNull(line, "the job ended before its first layer");
      if (forcibly) {
        process.destroyForcibly();
      } else {
        process.destroy();
      }
      assertTrue(process.waitFor(30, TimeUnit.SECONDS), "the job does not stop");
    }
    assertFalse(Files.exists(out));
    if (!forcibly) {
      try (Stream<Path> left = Files.list(folder)) {
        assertEquals(List.of(), left.toList());
      }
    }
  }

  private static Process start(Path out) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-p",
            System.getProperty("jdk.module.path"),
            "-m",
            "fqt.tools/fqt.tools.Main",
            "quantize",
            FIXTURES.resolve("tiny-qwen2").toString(),
            "--out",
            out.toString(),
            "--calib",
            FIXTURES.resolve("calib_ids.safetensors").toString(),
            "--samples",
            "8")
        .redirectErrorStream(true)
        .start();
  }
}
