package fqt.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import jcuda.nvptxcompiler.JNvPTXCompiler;
import jcuda.nvptxcompiler.nvPTXCompileResult;
import jcuda.nvptxcompiler.nvPTXCompilerHandle;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The PTX that ships: made from these sources, and compiled without spills by old and new ptxas.
 */
class PtxTest {
  private static final Path SOURCES = Path.of("src/main/cuda");
  private static final Path RESOURCES = Path.of("src/main/resources/fqt/cuda");
  private static final Pattern INCLUDE = Pattern.compile("(?m)^#include \"(.+)\"$");
  private static final Pattern VERSION = Pattern.compile("(?m)^\\.version (\\d+)\\.(\\d+)$");
  private static final Pattern TARGET = Pattern.compile("(?m)^\\.target (sm_\\w+)");
  private static final Pattern ENTRY = Pattern.compile("(?m)\\.visible \\.entry (\\w+)\\(");
  private static final Pattern SPILLS =
      Pattern.compile("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill");

  @BeforeAll
  static void loadCompiler() {
    Natives.load("JNvPTXCompiler", "jcuda.nvptxcompiler.JNvPTXCompiler");
  }

  static List<Path> resources() throws IOException {
    try (Stream<Path> files = Files.list(RESOURCES)) {
      return files.filter(f -> f.toString().endsWith(".ptx")).sorted().toList();
    }
  }

  @Test
  void ptxWasMadeFromTheseSources() throws IOException, NoSuchAlgorithmException {
    Properties known = new Properties();
    try (InputStream in = Files.newInputStream(RESOURCES.resolve("kernels.properties"))) {
      known.load(in);
    }
    for (Path ptx : resources()) {
      String name = ptx.getFileName().toString().replace(".ptx", "");
      String own = name + ".cu";
      String common = name.replaceFirst("_sm\\w+$", "") + ".cu";
      assertEquals(
          hash(Files.exists(SOURCES.resolve(own)) ? own : common),
          known.getProperty(name),
          name + ": compile it with mvn -pl cuda generate-resources -Pkernels");
    }
    assertEquals(resources().size(), known.size(), "PTX resources");
  }

  /** SHA-256 over a source and all it includes, names and contents, in the order of the names. */
  private static String hash(String file) throws IOException, NoSuchAlgorithmException {
    Map<String, byte[]> files = new TreeMap<>();
    collect(file, files);
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (Map.Entry<String, byte[]> entry : files.entrySet()) {
      digest.update((entry.getKey() + "\n").getBytes(StandardCharsets.UTF_8));
      digest.update(entry.getValue());
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static void collect(String file, Map<String, byte[]> files) throws IOException {
    byte[] bytes = Files.readAllBytes(SOURCES.resolve(file));
    if (files.put(file, bytes) == null) {
      Matcher includes = INCLUDE.matcher(new String(bytes, StandardCharsets.UTF_8));
      while (includes.find()) {
        collect(includes.group(1), files);
      }
    }
  }

  /** JCuda carries the ptxas of CUDA 12.0, the oldest that knows Hopper. */
  @ParameterizedTest
  @MethodSource("resources")
  void oldestCompilerAcceptsIt(Path ptx) throws IOException {
    String text = Files.readString(ptx);
    assumeTrue(version(text) <= 80, "later than the PTX 8.0 of the built-in compiler");
    requireClean(text, compile(text));
  }

  @ParameterizedTest
  @MethodSource("resources")
  void installedCompilerAcceptsIt(Path ptx) throws IOException, InterruptedException {
    assumeTrue(onPath("ptxas"), "no ptxas is installed");
    String text = Files.readString(ptx);
    Process ptxas =
        new ProcessBuilder(
                "ptxas", "-v", "-arch=" + target(text), "-o", "/dev/null", ptx.toString())
            .redirectErrorStream(true)
            .start();
    String log = new String(ptxas.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, ptxas.waitFor(), log);
    requireClean(text, log);
  }

  private static void requireClean(String text, String log) {
    // C75xx: wgmma that was serialized, setmaxnreg that was ignored.
    assertFalse(log.contains("C75") || log.contains("serializ"), log);
    Matcher spills = SPILLS.matcher(log);
    int kernels = 0;
    while (spills.find()) {
      kernels++;
      assertEquals(
          "0 0 0", "%s %s %s".formatted(spills.group(1), spills.group(2), spills.group(3)));
    }
    assertEquals(entries(text).size(), kernels, log);
  }

  private static String compile(String text) {
    byte[] bytes = (text + "\0").getBytes(StandardCharsets.US_ASCII);
    nvPTXCompilerHandle handle = new nvPTXCompilerHandle();
    JNvPTXCompiler.nvPTXCompilerCreate(handle, bytes.length, bytes);
    String[] options = {"--gpu-name=" + target(text), "--verbose"};
    int code = JNvPTXCompiler.nvPTXCompilerCompile(handle, options.length, options);
    long[] size = new long[1];
    boolean failed = code != nvPTXCompileResult.NVPTXCOMPILE_SUCCESS;
    if (failed) {
      JNvPTXCompiler.nvPTXCompilerGetErrorLogSize(handle, size);
    } else {
      JNvPTXCompiler.nvPTXCompilerGetInfoLogSize(handle, size);
    }
    byte[] log = new byte[(int) size[0] + 1];
    if (failed) {
      JNvPTXCompiler.nvPTXCompilerGetErrorLog(handle, log);
    } else {
      JNvPTXCompiler.nvPTXCompilerGetInfoLog(handle, log);
    }
    JNvPTXCompiler.nvPTXCompilerDestroy(handle);
    String words = new String(log, StandardCharsets.US_ASCII);
    assertFalse(failed, words);
    return words;
  }

  @Test
  void everyPlannedKernelExistsWithItsStages() throws IOException {
    List<String> kernels = new ArrayList<>();
    for (Path ptx : resources()) {
      kernels.addAll(entries(Files.readString(ptx)));
    }
    StringBuilder sources = new StringBuilder();
    try (Stream<Path> list = Files.list(SOURCES)) {
      for (Path file : list.toList()) {
        sources.append(Files.readString(file));
      }
    }
    List<GemmPlan> plans = new ArrayList<>(GemmPlanTest.allPlans(300, 700, 40));
    plans.addAll(GemmPlanTest.allPlans(3, 700, 40));
    for (GemmPlan plan : plans) {
      assertTrue(kernels.contains(plan.kernel()), plan.kernel());
      String text = Files.readString(RESOURCES.resolve(plan.module() + ".ptx"));
      assertTrue(entries(text).contains(plan.kernel()), plan.kernel() + " in " + plan.module());
      Matcher macro =
          Pattern.compile("GEMM_\\w+\\(" + plan.kernel() + ", \\w+, (\\d+), \\w+, (\\d+)(, .+)?\\)")
              .matcher(sources);
      assertTrue(macro.find(), plan.kernel());
      int width = Integer.parseInt(macro.group(1));
      int stages = Integer.parseInt(macro.group(2));
      int ring = stages * (128 + width) * 128;
      int barriers = stages * 16;
      int bytes =
          switch (plan.kind()) {
            case LARGE -> {
              int scales = plan.kernel().contains("blockwise") ? stages * 132 * 4 : 0;
              int rest = width * 16 + scales + barriers + 16;
              yield ring + rest + (ring + rest + 32_768 <= 232_448 ? 32_768 : 16_384);
            }
            case SMALL -> smallBytes(width, stages, macro.group(3).split(", "));
            case STREAM -> ring + 8 * 8 * 20 * 4 + barriers;
          };
      assertEquals(bytes, plan.sharedBytes(), plan.kernel());
    }
  }

  /** Rings of weights and of tokens, and their barriers. */
  private static int smallBytes(int width, int rows, String[] rest) {
    int weights = Integer.parseInt(rest[1]);
    int tokens = Integer.parseInt(rest[2]);
    return (weights * rows + tokens * width) * 128 + (weights + tokens) * 16;
  }

  private static List<String> entries(String text) {
    return ENTRY.matcher(text).results().map(m -> m.group(1)).toList();
  }

  private static int version(String text) {
    Matcher matcher = VERSION.matcher(text);
    assertTrue(matcher.find());
    return Integer.parseInt(matcher.group(1)) * 10 + Integer.parseInt(matcher.group(2));
  }

  private static String target(String text) {
    Matcher matcher = TARGET.matcher(text);
    assertTrue(matcher.find());
    return matcher.group(1);
  }

  private static boolean onPath(String program) {
    return Stream.of(System.getenv("PATH").split(":"))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
  }
}
