package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's quick start, as it stands there, compiled and run. */
class QuickStartTest {
  private static final Path FIXTURES = Path.of(System.getProperty("fqt.fixtures"));
  private static final Pattern JAVA = Pattern.compile("```java\\n(.*?)```", Pattern.DOTALL);
  private static final Pattern RESULT = Pattern.compile("value=([0-9.]+)");

  /** What a reader would write around it. */
  private static final String PROGRAM =
      """
      import fqt.io.*;
      import fqt.models.*;
      import fqt.quant.*;
      import fqt.tensor.*;
      import java.nio.file.Path;

      class QuickStart {
        public static void main(String[] arguments) {
          Path checkpoint = Path.of(arguments[0]);
          Path recorded = Path.of(arguments[1]);
          Tensor ids = Safetensors.open(Path.of(arguments[2])).get("ids").slice(0, 0, 2048);
          %s
        }
      }
      """;

  @TempDir Path folder;

  @Test
  void compilesRunsAndQuantizes() throws IOException, InterruptedException {
    Path recorded = folder.resolve("recorded");
    CommandRun record =
        CommandRun.of(
            "record",
            FIXTURES.resolve("tiny-qwen2").toString(),
            "--data",
            FIXTURES.resolve("eval_ids.safetensors").toString(),
            "--samples",
            "16",
            "--seq-len",
            "64",
            "--module",
            "model.layers.0",
            "--out",
            recorded.toString());
    assertEquals(0, record.code(), record.err());
    Path program = folder.resolve("QuickStart.java");
    Files.writeString(program, PROGRAM.formatted(quickStart()));
    String output = run(program, recorded);
    Matcher result = RESULT.matcher(output);
    assertTrue(result.find(), output);
    double perplexity = Double.parseDouble(result.group(1));
    assertTrue(perplexity > 1.5 && perplexity < 2.0, output);
  }

  private static String quickStart() throws IOException {
    String readme = Files.readString(FIXTURES.resolveSibling("README.md"));
    Matcher block = JAVA.matcher(readme);
    assertTrue(block.find(), "the README has no block of Java");
    assertEquals(4, block.group(1).lines().count(), "the quick start is not four lines");
    return block.group(1);
  }

  private static String run(Path program, Path recorded) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-p",
                System.getProperty("jdk.module.path"),
                "--add-modules",
                "fqt.models,fqt.quant",
                program.toString(),
                FIXTURES.resolve("tiny-qwen2").toString(),
                recorded.toString(),
                FIXTURES.resolve("eval_ids.safetensors").toString())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    return output;
  }
}
