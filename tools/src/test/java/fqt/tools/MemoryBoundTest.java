package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.io.SafetensorsWriter;
import fqt.tensor.Ops;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A job in a process of its own stays within the memory that it says it needs. */
@EnabledOnOs(OS.LINUX)
class MemoryBoundTest {
  private static final Pattern BOUND = Pattern.compile("memory: at most ([0-9.]+) ([KMG])iB");
  private static final Pattern PEAK = Pattern.compile("VmHWM:\\s*([0-9]+) kB");

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({"gptq, f32", "awq, disk"})
  void theResidentSetStaysBelowThePrintedBound(String method, String activations)
      throws IOException, InterruptedException {
    Path model = folder.resolve("model");
    List<String> made = new ArrayList<>(List.of("random-model", model.toString()));
    made.addAll(List.of("--hidden", "512", "--intermediate", "2560", "--layers", "1"));
    CommandRun run = CommandRun.of(made.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    Path ids = folder.resolve("ids.safetensors");
    int[] random = new Random(1).ints(512, 0, 1200).toArray();
    SafetensorsWriter.writeFile(ids, Map.of("ids", Ops.of(random, 4, 128)), Map.of());
    Path said = folder.resolve("said");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    // As the launcher does it.
    command.addAll(List.of("-XX:+UseSerialGC", "-Xms64m", "--enable-native-access=fqt.tensor"));
    command.addAll(List.of("-p", System.getProperty("jdk.module.path")));
    command.addAll(List.of("-m", "fqt.tools/fqt.tools.Main", "quantize", model.toString()));
    command.addAll(List.of("--out", folder.resolve("out").toString(), "--calib", ids.toString()));
    command.addAll(List.of("--method", method, "--activations", activations));
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(said.toFile()).start();
    long peak = peak(process);
    String text = Files.readString(said);
    assertEquals(0, process.waitFor(), text);
    long bound = bound(text);
    assertTrue(peak <= bound, "%d bytes resident, but %d said%n%s".formatted(peak, bound, text));
    assertTrue(bound <= 2.5 * peak, "only %d resident of %d said".formatted(peak, bound));
  }

  /** The most that was ever resident of a process, watched until it ends. */
  private static long peak(Process process) throws InterruptedException {
    Path status = Path.of("/proc", String.valueOf(process.pid()), "status");
    long peak = 0;
    while (process.isAlive()) {
      try {
        Matcher matcher = PEAK.matcher(Files.readString(status));
        if (matcher.find()) {
          peak = Math.max(peak, Long.parseLong(matcher.group(1)) * 1024);
        }
      } catch (IOException ended) {
        // Gone between the question and the answer.
        break;
      }
      Thread.sleep(10);
    }
    return peak;
  }

  private static long bound(String text) {
    Matcher matcher = BOUND.matcher(text);
    assertTrue(matcher.find(), text);
    int shift = 10 * (1 + "KMG".indexOf(matcher.group(2)));
    return (long) (Double.parseDouble(matcher.group(1)) * (1L << shift));
  }
}
