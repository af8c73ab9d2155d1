import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Compiles the CUDA C++ of {@code cuda/src/main/cuda} into the PTX that is committed beside it.
 * Needs nvcc 12.8 or later; {@code mvn -pl cuda generate-resources -Pkernels} calls it. Also writes
 * {@code kernels.properties}: for each PTX the hash of its source and of what that includes, by
 * which the tests see that both fit, and this program what it may leave as it is.
 */
final class Kernels {
  /** A PTX resource: its source, its target and the oldest PTX version that knows the target. */
  private record Unit(String name, String source, String target, String version) {}

  private static final List<Unit> UNITS =
      List.of(
          new Unit("gemm_s8_sm90a", "gemm_s8_sm90a", "90a", "8.0"),
          new Unit("gemm_e4m3_sm90a", "gemm_e4m3_sm90a", "90a", "8.0"),
          new Unit("gemm_e4m3_precise_sm90a", "gemm_e4m3_precise_sm90a", "90a", "8.0"),
          new Unit("gemm_bf16_sm90a", "gemm_bf16_sm90a", "90a", "8.0"),
          new Unit("gemm_s8_small_sm90a", "gemm_s8_small_sm90a", "90a", "8.0"),
          new Unit("gemm_e4m3_small_sm90a", "gemm_e4m3_small_sm90a", "90a", "8.0"),
          new Unit("gemm_bf16_small_sm90a", "gemm_bf16_small_sm90a", "90a", "8.0"),
          new Unit("gemm_grouped_sm90a", "gemm_grouped_sm90a", "90a", "8.0"),
          new Unit("gemm_stream_sm90a", "gemm_stream_sm90a", "90a", "8.0"),
          new Unit("gemm_sm80", "gemm_sm80", "80", "7.0"),
          new Unit("gemm_sm89", "gemm_sm89", "89", "8.4"),
          new Unit("quantize_sm80", "quantize", "80", "7.0"),
          new Unit("quantize_sm89", "quantize", "89", "8.1"),
          new Unit("quantize_sm90a", "quantize", "90a", "8.0"),
          new Unit("attention_sm80", "attention", "80", "7.0"),
          new Unit("attention_sm90a", "attention_sm90a", "90a", "8.0"),
          new Unit("blocks_sm80", "blocks", "80", "7.0"),
          new Unit("gptq_sm80", "gptq", "80", "7.0"),
          new Unit("pack_sm80", "pack", "80", "7.0"),
          new Unit("packed2_sm80", "packed2", "80", "7.0"),
          new Unit("packed3_sm80", "packed3", "80", "7.0"),
          new Unit("packed4_sm80", "packed4", "80", "7.0"),
          new Unit("packed8_sm80", "packed8", "80", "7.0"),
          new Unit("syrk_sm80", "syrk", "80", "7.0"),
          new Unit("syrk_sm90a", "syrk_sm90a", "90a", "8.0"),
          new Unit("triangular_sm80", "triangular", "80", "7.0"),
          new Unit("copies_sm80", "copies", "80", "7.0"),
          new Unit("pointwise_sm80", "pointwise", "80", "7.0"),
          new Unit("products_sm80", "products", "80", "7.0"),
          new Unit("reduce_sm80", "reduce", "80", "7.0"),
          new Unit("rows_sm80", "rows", "80", "7.0"));

  private static final Pattern INCLUDE = Pattern.compile("(?m)^#include \"(.+)\"$");

  private Kernels() {}

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Path module = Path.of(arguments[0]);
    Path sources = module.resolve("src/main/cuda");
    Path resources = module.resolve("src/main/resources/fqt/cuda");
    Path list = resources.resolve("kernels.properties");
    Properties known = new Properties();
    if (Files.exists(list)) {
      known.load(Files.newBufferedReader(list));
    }
    StringBuilder hashes = new StringBuilder();
    for (Unit unit : UNITS) {
      Path ptx = resources.resolve(unit.name + ".ptx");
      String hash = hash(sources, unit.source + ".cu");
      if (!Files.exists(ptx) || !hash.equals(known.getProperty(unit.name))) {
        compile(unit, sources, ptx);
      }
      hashes.append(unit.name).append('=').append(hash).append('\n');
    }
    Files.writeString(list, hashes);
  }

  private static void compile(Unit unit, Path sources, Path ptx)
      throws IOException, InterruptedException {
    String architecture = "arch=compute_%s,code=compute_%s".formatted(unit.target, unit.target);
    Process nvcc =
        new ProcessBuilder(
                "nvcc",
                "-std=c++17",
                "-O3",
                "-gencode",
                architecture,
                "-ptx",
                "-o",
                ptx.toString(),
                sources.resolve(unit.source + ".cu").toString())
            .inheritIO()
            .start();
    if (nvcc.waitFor() != 0) {
      throw new IOException("nvcc failed on " + unit.source + ".cu");
    }
    // nvcc writes its own version, which every older driver refuses; the code needs only this one.
    String text = Files.readString(ptx);
    // The pragma is a hint to later compilers that earlier ones do not know.
    String aged =
        text.replaceFirst("(?m)^\\.version .*$", ".version " + unit.version)
            .replaceAll("(?m)^\\s*\\.pragma \"used_bytes_mask.*\\R", "");
    Files.writeString(ptx, aged.substring(aged.indexOf(".version")));
  }

  /** SHA-256 over a source and all it includes, names and contents, in the order of the names. */
  private static String hash(Path sources, String file) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    collect(sources, file, files);
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (Map.Entry<String, byte[]> entry : files.entrySet()) {
        digest.update((entry.getKey() + "\n").getBytes());
        digest.update(entry.getValue());
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
  }

  private static void collect(Path sources, String file, Map<String, byte[]> files)
      throws IOException {
    byte[] bytes = Files.readAllBytes(sources.resolve(file));
    if (files.put(file, bytes) == null) {
      Matcher includes = INCLUDE.matcher(new String(bytes));
      while (includes.find()) {
        collect(sources, includes.group(1), files);
      }
    }
  }
}
