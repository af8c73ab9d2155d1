package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The launcher script, in an empty checkout with JDKs that only say who they are. */
@DisabledOnOs(OS.WINDOWS)
class LauncherTest {
  /** Plays a Java VM: prints the incubator line and more, and ends with code 3. */
  private static final String FAKE_JAVA =
      """
      #!/bin/sh
      echo "first line" >&2
      echo "WARNING: Using incubator modules: jdk.incubator.vector" >&2
      echo "second line" >&2
      printf 'a bar\\r' >&2
      echo "$0 $*"
      exit 3
      """;

  @TempDir Path folder;

  private record Result(int code, String out, String err) {}

  @BeforeEach
  void emptyCheckout() throws IOException {
    Path script = Path.of(System.getProperty("fqt.fixtures")).resolveSibling("fqt");
    Files.copy(script, folder.resolve("fqt"), StandardCopyOption.COPY_ATTRIBUTES);
    Files.writeString(folder.resolve("pom.xml"), "");
    for (String module : new String[] {"tensor", "models", "quant", "cuda", "fixtures"}) {
      Files.createDirectory(folder.resolve(module));
    }
    Path modules = Files.createDirectories(folder.resolve("tools/target/modules"));
    Files.writeString(modules.resolve("fqt-tools-1.jar"), "");
  }

  @ParameterizedTest
  @CsvSource({
    "25.0.3, true",
    "25.0.10, true",
    "25.1, true",
    "26, true",
    "25.0.3.1, true",
    "25.0.2, false",
    "25, false",
    "21.0.11, false",
    "9, false"
  })
  void javaHomeCountsIfItIsNewEnough(String version, boolean suits) throws Exception {
    Path home = jdk("jdk", version);
    Path fallback = jdk("home/.jdks/other", "25.0.3");
    Result result = run(Map.of("JAVA_HOME", home.toString(), "PATH", "/usr/bin:/bin"));
    if (suits) {
      assertTrue(result.out().startsWith(home + "/bin/java "), result.out());
    } else {
      assertTrue(!result.out().startsWith(home.toString()), result.out());
    }
    assertTrue(Files.exists(fallback));
  }

  @Test
  void theJavaOnThePathCountsThroughLinks() throws Exception {
    Path home = jdk("jdk", "25.0.4");
    Path bin = Files.createDirectory(folder.resolve("bin"));
    Files.createSymbolicLink(bin.resolve("java"), home.resolve("bin/java"));
    Result result = run(Map.of("PATH", bin + ":/usr/bin:/bin"));
    assertTrue(result.out().startsWith(home + "/bin/java "), result.out());
  }

  @Test
  void aRuntimeBesideTheScriptComesFirst() throws Exception {
    Path runtime = jdk("runtime", "25.0.3");
    Result result = run(Map.of("PATH", "/usr/bin:/bin"));
    assertTrue(result.out().startsWith(runtime + "/bin/java "), result.out());
    assertTrue(result.out().contains(" -p " + folder + "/modules "), result.out());
  }

  @Test
  void onlyTheIncubatorLineIsDropped() throws Exception {
    jdk("runtime", "25.0.3");
    Result result = run(Map.of("PATH", "/usr/bin:/bin"));
    assertEquals("first line\nsecond line\na bar\r", result.err());
    assertEquals(3, result.code());
    assertTrue(result.out().endsWith("fqt.tools/fqt.tools.Main eval --json\n"), result.out());
  }

  /** The page is shown, and no VM started, only where help is all that is asked for. */
  @ParameterizedTest
  @CsvSource({
    "--help, fqt",
    "-h, fqt",
    "eval --help, eval",
    "eval -h, eval",
    "nonsense --help,",
    "../help/eval --help,",
    "eval.color --help,",
    "help,",
    "generate model --help,",
    "--version,"
  })
  void helpComesFromItsPage(String arguments, String page) throws Exception {
    jdk("runtime", "25.0.3");
    Path pages = Files.createDirectory(folder.resolve("help"));
    for (String name : new String[] {"fqt", "eval", "generate"}) {
      Files.writeString(pages.resolve(name), "page of " + name + "\n");
    }
    Result result = run(Map.of("PATH", "/usr/bin:/bin"), arguments.split(" "));
    if (page != null) {
      assertEquals(new Result(0, "page of " + page + "\n", ""), result);
    } else {
      assertTrue(result.out().endsWith(".Main " + arguments + "\n"), result.out());
    }
  }

  @Test
  void helpIsAskedOfTheProgramWhereThereAreNoPages() throws Exception {
    jdk("runtime", "25.0.3");
    Result result = run(Map.of("PATH", "/usr/bin:/bin"), "eval", "--help");
    assertTrue(result.out().endsWith(".Main eval --help\n"), result.out());
  }

  private Path jdk(String name, String version) throws IOException {
    Path home = folder.toRealPath().resolve(name);
    Path bin = Files.createDirectories(home.resolve("bin"));
    Files.writeString(
        home.resolve("release"),
        "IMPLEMENTOR=\"Test\"\nJAVA_VERSION=\"" + version + "\"\nOS_NAME=\"Linux\"\n");
    for (String tool : new String[] {"java", "javac"}) {
      Files.writeString(bin.resolve(tool), FAKE_JAVA);
      Files.setPosixFilePermissions(
          bin.resolve(tool), PosixFilePermissions.fromString("rwxr-xr-x"));
    }
    return home;
  }

  private Result run(Map<String, String> environment) throws Exception {
    return run(environment, "eval", "--json");
  }

  private Result run(Map<String, String> environment, String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of(arguments));
    command.addFirst(folder.toRealPath().resolve("fqt").toString());
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().clear();
    builder.environment().put("HOME", folder.resolve("home").toString());
    builder.environment().put("TMPDIR", folder.toString());
    builder.environment().putAll(environment);
    Path err = folder.resolve("err");
    Process process = builder.redirectError(err.toFile()).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(process.waitFor(30, TimeUnit.SECONDS), "the launcher hangs");
    Thread.sleep(100); // The rest of standard error may still be in the pipe.
    return new Result(process.exitValue(), out, Files.readString(err));
  }
}
