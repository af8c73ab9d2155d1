import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Compiles the CUDA C++ of {@code cuda/src/main/cuda} into the PTX that is committed beside it.
 * Needs nvcc 12.8 or later; {@code mvn -pl cuda generate-resources -Pkernels} calls it. Also writes
 * {@code kernels.properties}, the hash of the sources, by which the tests see that both fit.
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
          new Unit("gemm_stream_sm90a", "gemm_stream_sm90a", "90a", "8.0"),
          new Unit("gemm_sm80", "gemm_sm80", "80", "7.0"),
          new Unit("gemm_sm89", "gemm_sm89", "89", "8.4"),
          new Unit("quantize_sm80", "quantize", "80", "7.0"),
          new Unit("quantize_sm89", "quantize", "89", "8.1"),
          new Unit("quantize_sm90a", "quantize", "90a", "8.0"));

  private Kernels() {}

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Path module = Path.of(arguments[0]);
    Path sources = module.resolve("src/main/cuda");
    Path resources = module.resolve("src/main/resources/fqt/cuda");
    for (Unit unit : UNITS) {
      Path ptx = resources.resolve(unit.name + ".ptx");
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
      // nvcc writes its own version, which every older driver refuses; the code needs only this
      // one.
      String text = Files.readString(ptx);
      // The pragma is a hint to later compilers that earlier ones do not know.
      String aged =
          text.replaceFirst("(?m)^\\.version .*$", ".version " + unit.version)
              .replaceAll("(?m)^\\s*\\.pragma \"used_bytes_mask.*\\R", "");
      Files.writeString(ptx, aged.substring(aged.indexOf(".version")));
    }
    Files.writeString(resources.resolve("kernels.properties"), "sources=" + hash(sources) + "\n");
  }

  /** SHA-256 over names and contents of all source files, in the order of their names. */
  private static String hash(Path sources) throws IOException {
    Map<String, Path> files = new TreeMap<>();
    try (Stream<Path> list = Files.list(sources)) {
      list.forEach(file -> files.put(file.getFileName().toString(), file));
    }
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (Map.Entry<String, Path> file : files.entrySet()) {
        digest.update((file.getKey() + "\n").getBytes());
        digest.update(Files.readAllBytes(file.getValue()));
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (java.security.NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
  }
}
