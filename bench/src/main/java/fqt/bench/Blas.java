package fqt.bench;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A native BLAS found on this machine, for comparison. The property {@code fqt.bench.blis} or
 * {@code fqt.bench.openblas} names the library's file; otherwise Debian's places are tried.
 */
final class Blas {
  private static final int ROW_MAJOR = 101;
  private static final int NO_TRANSPOSE = 111;
  private static final int TRANSPOSE = 112;
  private static final List<String> BLIS = List.of("blis-pthread/libblis.so.4", "libblis.so.4");
  private static final List<String> OPENBLAS =
      List.of("openblas-pthread/libopenblas.so.0", "libopenblas.so.0");

  /**
   * What OpenBLAS's Fortran runtime needs, and looks for where the system has its libraries only;
   * what is loaded already it need not look for.
   */
  private static final List<String> RUNTIME = List.of("libgcc_s.so.1", "libquadmath.so.0");

  private final MethodHandle sgemm;
  private final String description;

  private Blas(SymbolLookup symbols, String description) {
    this.description = description;
    this.sgemm =
        handle(
            symbols,
            "cblas_sgemm",
            FunctionDescriptor.ofVoid(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_FLOAT,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_FLOAT,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT));
  }

  /**
   * BLIS with so many threads.
   *
   * @throws IllegalStateException if it is not installed
   */
  static Blas blis(int threads) {
    Path file = find("blis", BLIS);
    SymbolLookup symbols = open(file);
    call(symbols, "bli_thread_set_num_threads", ValueLayout.JAVA_LONG, (long) threads);
    return new Blas(symbols, "BLIS, " + file);
  }

  /**
   * OpenBLAS with so many threads. It may not know a new processor and then picks kernels for an
   * older one; where there is AVX-512, run with {@code OPENBLAS_CORETYPE=SkylakeX}.
   *
   * @throws IllegalStateException if it is not installed, or leaves AVX-512 unused
   */
  static Blas openblas(int threads) {
    Path file = find("openblas", OPENBLAS);
    RUNTIME.stream().map(file::resolveSibling).filter(Files::exists).forEach(Blas::open);
    SymbolLookup symbols = open(file);
    call(symbols, "openblas_set_num_threads", ValueLayout.JAVA_INT, threads);
    String core = text(symbols, "openblas_get_corename");
    boolean wide = Stream.of("SkylakeX", "Cooperlake", "SapphireRapids").anyMatch(core::equals);
    if (hasAvx512() && !wide) {
      throw new IllegalStateException(
          "OpenBLAS chose its "
              + core
              + " kernels on a machine with AVX-512; set OPENBLAS_CORETYPE=SkylakeX");
    }
    return new Blas(symbols, "OpenBLAS, core type " + core + ", " + file);
  }

  /** Which library, with which kernels. */
  String description() {
    return description;
  }

  /** {@code c = a b} or, with {@code transposed}, {@code a bᵀ}; F32, row-major, dense. */
  void multiply(
      int m, int n, int k, MemorySegment a, MemorySegment b, boolean transposed, MemorySegment c) {
    try {
      sgemm.invokeExact(
          ROW_MAJOR,
          NO_TRANSPOSE,
          transposed ? TRANSPOSE : NO_TRANSPOSE,
          m,
          n,
          k,
          1f,
          a,
          k,
          b,
          transposed ? k : n,
          0f,
          c,
          n);
    } catch (Throwable thrown) {
      throw new IllegalStateException(description + ": sgemm failed", thrown);
    }
  }

  /** Whether there is an OpenBLAS to compare with. */
  static boolean hasOpenblas() {
    return file("openblas", OPENBLAS).isPresent();
  }

  private static SymbolLookup open(Path file) {
    return SymbolLookup.libraryLookup(file, Arena.global());
  }

  private static Path find(String name, List<String> places) {
    String debian = name.equals("blis") ? "blis4-pthread" : "openblas0-pthread";
    String missing = "no %s; install lib%s, or name its file with -Dfqt.bench.%s=...";
    return file(name, places)
        .orElseThrow(() -> new IllegalStateException(missing.formatted(name, debian, name)));
  }

  private static Optional<Path> file(String name, List<String> places) {
    String wanted = System.getProperty("fqt.bench." + name);
    if (wanted != null) {
      return Optional.of(Path.of(wanted));
    }
    boolean intel = System.getProperty("os.arch").equals("amd64");
    Path folder = Path.of("/usr/lib", intel ? "x86_64-linux-gnu" : "aarch64-linux-gnu");
    return places.stream().map(folder::resolve).filter(Files::exists).findFirst();
  }

  /** Whether the processor has 512-bit vectors. */
  static boolean hasAvx512() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      return lines
          .filter(line -> line.toLowerCase(Locale.ROOT).startsWith("flags"))
          .anyMatch(line -> Arrays.asList(line.split(" ")).contains("avx512f"));
    } catch (IOException absent) {
      return false;
    }
  }

  private static MethodHandle handle(
      SymbolLookup symbols, String name, FunctionDescriptor descriptor) {
    return Linker.nativeLinker().downcallHandle(symbols.findOrThrow(name), descriptor);
  }

  private static void call(SymbolLookup symbols, String name, ValueLayout type, Object argument) {
    try {
      handle(symbols, name, FunctionDescriptor.ofVoid(type)).invoke(argument);
    } catch (Throwable thrown) {
      throw new IllegalStateException(name + " failed", thrown);
    }
  }

  private static String text(SymbolLookup symbols, String name) {
    try {
      MemorySegment result =
          (MemorySegment)
              handle(symbols, name, FunctionDescriptor.of(ValueLayout.ADDRESS)).invokeExact();
      return result.reinterpret(Long.MAX_VALUE).getString(0);
    } catch (Throwable thrown) {
      throw new IllegalStateException(name + " failed", thrown);
    }
  }
}
