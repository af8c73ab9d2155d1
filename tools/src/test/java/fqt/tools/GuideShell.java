package fqt.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;

/**
 * Where a page of the guide is tried out: a folder in which {@code fixtures} is what it is in the
 * project, {@code lib} holds our jars and what they need, and compiled classes go to {@code
 * classes}.
 */
record GuideShell(Path folder) {
  private static final String MODULES = "fqt.models,fqt.quant,fqt.tools";

  /** Options that take a file or folder. */
  private static final Set<String> FILES =
      Set.of("--out", "--data", "--calib", "--inputs", "--image", "--base");

  /** A word of a command line, perhaps quoted. */
  private static final Pattern WORD = Pattern.compile("'([^']*)'|\"([^\"]*)\"|(\\S+)");

  private static final Pattern CLASS =
      Pattern.compile("^(?:public |final )*(?:class|record|interface) (\\w+)", Pattern.MULTILINE);

  /** What a reader would have around statements. */
  private static final String SNIPPET =
      """
      import fqt.io.*;
      import fqt.models.*;
      import fqt.models.tokenizer.*;
      import fqt.nn.*;
      import fqt.nn.Module;
      import fqt.quant.*;
      import fqt.quant.format.*;
      import fqt.quant.rules.*;
      import fqt.tensor.*;
      import fqt.tools.plot.*;
      import java.nio.file.Path;
      import java.util.*;

      class Snippet {
        Path checkpoint;
        Path folder;
        Path recorded;
        CausalLm model;
        CalibrationInputs inputs;
        Module layer;
        Tensor ids;
        Tensor x;

        void run() throws Exception {
          %s
        }
      }
      """;

  /** Lays a folder out. */
  static GuideShell in(Path folder, Path root) throws IOException {
    Path lib = Files.createDirectories(folder.resolve("lib"));
    Files.createSymbolicLink(folder.resolve("fixtures"), root.resolve("fixtures"));
    for (String entry : System.getProperty("jdk.module.path").split(File.pathSeparator)) {
      Path path = Path.of(entry);
      if (!Files.isDirectory(path)) {
        Files.createSymbolicLink(lib.resolve(path.getFileName()), path);
      } else if (Files.exists(path.resolve("module-info.class"))) {
        Path jar = lib.resolve(path.getParent().getParent().getFileName() + ".jar");
        tool("jar", "--create", "--file", jar.toString(), "-C", path.toString(), ".");
      }
    }
    return new GuideShell(folder);
  }

  /** Compiles a class, or statements. */
  void compile(String text) throws IOException {
    Matcher name = CLASS.matcher(text);
    boolean unit = name.find();
    Path source = folder.resolve(unit ? name.group(1) + ".java" : "Snippet.java");
    Files.writeString(source, unit ? text : SNIPPET.formatted(text));
    String lib = folder.resolve("lib").toString();
    String classes = folder.resolve("classes").toString();
    tool("javac", "-p", lib, "--add-modules", MODULES, "-d", classes, "-cp", classes, source + "");
  }

  private static void tool(String name, String... arguments) {
    StringWriter output = new StringWriter();
    PrintWriter writer = new PrintWriter(output);
    int code = ToolProvider.findFirst(name).orElseThrow().run(writer, writer, arguments);
    assertEquals(0, code, () -> name + ": " + output);
  }

  /** Runs the commands of a block and compares what they print. */
  void run(String text, boolean fails) throws IOException, InterruptedException {
    List<String> parts =
        List.of(text.replace("\\\n", " ").split("(?:^|\\n)\\$ ", -1)).stream()
            .filter(part -> !part.isBlank())
            .toList();
    for (String part : parts) {
      String[] lines = part.split("\n", 2);
      CommandRun run = run(lines[0]);
      String printed = run.out().replace(folder + "/", "");
      if (fails && part.equals(parts.getLast())) {
        assertNotEquals(0, run.code(), () -> lines[0] + "\n" + printed);
      } else {
        assertEquals(0, run.code(), () -> lines[0] + "\n" + printed);
      }
      if (lines.length > 1 && !lines[1].isBlank()) {
        assertTrue(
            pattern(lines[1]).matcher(printed).matches(),
            () -> "$ %s\nprinted:\n%sexpected:\n%s".formatted(lines[0], printed, lines[1]));
      }
    }
  }

  /** The expected text; an ellipsis alone on a line stands for lines, within one for characters. */
  private static Pattern pattern(String expected) {
    return Pattern.compile(
        expected
            .strip()
            .lines()
            .map(
                line ->
                    line.equals("…")
                        ? "(?:.*\\n)*"
                        : Pattern.quote(line.stripTrailing()).replace("…", "\\E.*\\Q") + "\\s*\\n")
            .collect(Collectors.joining("", "\\s*", "\\s*")));
  }

  private CommandRun run(String line) throws IOException, InterruptedException {
    List<String> words = words(line);
    if (!words.getFirst().equals("fqt") || line.contains(" | ")) {
      return process(line);
    }
    // One writer for both, so that lines stand as a terminal would show them.
    StringWriter printed = new StringWriter();
    PrintWriter writer = new PrintWriter(printed);
    int code = Main.run(writer, writer, words.stream().skip(1).toArray(String[]::new));
    return new CommandRun(code, printed.toString(), "");
  }

  /** The words of a line; a file or folder is one below this folder. */
  private List<String> words(String line) {
    List<String> words = new ArrayList<>();
    Matcher word = WORD.matcher(line);
    while (word.find()) {
      String quoted = word.group(1) != null ? word.group(1) : word.group(2);
      String plain = quoted != null ? quoted : word.group(3);
      boolean path =
          words.size() == 2 && !plain.startsWith("-")
              || !words.isEmpty() && FILES.contains(words.getLast());
      words.add(path ? folder.resolve(plain).toString() : plain);
    }
    return words;
  }

  /** Runs a line in a shell that finds the JDK of this process and a launcher called fqt. */
  private CommandRun process(String line) throws IOException, InterruptedException {
    Path bin = Files.createDirectories(folder.resolve("bin"));
    Path launcher = bin.resolve("fqt");
    if (!Files.exists(launcher)) {
      Files.writeString(
          launcher,
          "exec java -p '%s' --enable-native-access=fqt.tensor,fqt.cuda -m %s \"$@\"\n"
              .formatted(folder.resolve("lib"), "fqt.tools/fqt.tools.Main"));
      assertTrue(launcher.toFile().setExecutable(true));
    }
    ProcessBuilder builder = new ProcessBuilder("sh", "-c", line).directory(folder.toFile());
    String jdk = Path.of(System.getProperty("java.home"), "bin").toString();
    builder
        .environment()
        .compute(
            "PATH", (name, path) -> bin + File.pathSeparator + jdk + File.pathSeparator + path);
    Process process = builder.redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new CommandRun(process.waitFor(), output, "");
  }
}
