package fqt.bench;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;

/**
 * One linear layer on the CPU, by us or by a native library. The weights of up to 16 tokens are in
 * rotation, so that they come from memory and not from a cache; {@code -Dfqt.bench.far} says how
 * many bytes are far from any cache.
 */
final class CpuWork implements AutoCloseable {
  private static final long FAR = Long.getLong("fqt.bench.far", 150_000_000);
  private static final int MOST_COPIES = 16;
  private static final long GROUP = 128;
  private static final boolean PROCESSOR_TIME =
      "processor".equals(System.getProperty("fqt.bench.clock"));

  private final String library;
  private final String type;
  private final int threads;
  private final Tensor x;
  private final Tensor xScale;
  private final Tensor wScale;
  private final Tensor out;
  private final List<Runnable> calls = new ArrayList<>();
  private final List<Onednn> peers = new ArrayList<>();
  private long weightBytes;
  private long runs;

  /**
   * A layer.
   *
   * @param library fqt, onednn or openblas (F32 only)
   * @param type of x and of the weight: f32, bf16, s8; or int4 with x in BF16, as w4a16 says, or
   *     int4-f32 with x in F32
   * @param m tokens
   * @param n outputs
   * @param k inputs
   */
  CpuWork(String library, String type, int m, int n, int k, int threads) {
    this(library, type, m, use(threads), weights(n, k));
  }

  /**
   * The same with weights that several layers share.
   *
   * @param weights [outputs, inputs], what {@link #converted} made of {@link #weights}, or F32;
   *     nobody writes to them any more
   */
  CpuWork(String library, String type, int m, int threads, Tensor weights) {
    int n = (int) weights.dim(0);
    int k = (int) weights.dim(1);
    this.library = library;
    this.type = type;
    this.threads = use(threads);
    xScale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, m);
    wScale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, n);
    x = converted(type.equals("int4") ? "bf16" : type, GemmBench.random(1, m, k));
    out = Ops.empty(Device.CPU, DType.F32, m, n);
    do {
      add(weights);
    } while (m <= 16 && calls.size() < MOST_COPIES && weightBytes * calls.size() < FAR);
  }

  /** Before the first tensor: that is when our threads are counted. */
  private static int use(int threads) {
    System.setProperty("fqt.threads", Integer.toString(threads));
    return threads;
  }

  /** Whether a library is here and computes such layers on this processor. */
  static boolean exists(String library, String type) {
    return switch (library) {
      case "fqt" -> true;
      case "onednn" -> !type.startsWith("int4") && Onednn.multiplies(dtype(type));
      default -> type.equals("f32") && Blas.hasOpenblas();
    };
  }

  private static DType dtype(String type) {
    return switch (type) {
      case "f32", "int4", "int4-f32" -> DType.F32;
      case "bf16" -> DType.BF16;
      case "s8" -> DType.I8;
      default -> throw new IllegalArgumentException("no weight '" + type + "'");
    };
  }

  /** Random numbers, repeated: making that many would take longer than all the products. */
  static Tensor weights(int n, int k) {
    long part = (long) n * k / 64;
    Tensor row = GemmBench.random(2, 1, part).reshape(part);
    Tensor all = GemmBench.random(3, n, 1);
    Tensor w = Ops.empty(Device.CPU, DType.F32, n, k);
    Tensor flat = w.reshape((long) n * k);
    for (long at = 0; at < flat.count(); at += part) {
      long end = Math.min(at + part, flat.count());
      Ops.copyInto(row.slice(0, 0, end - at), flat.slice(0, at, end));
    }
    Ops.copyInto(all, w.slice(1, 0, 1));
    return w;
  }

  /** F32 as operands of a type are; itself if it has that type, or nothing is made of it. */
  static Tensor converted(String type, Tensor values) {
    if (values.dtype() == dtype(type)) {
      return values;
    }
    return switch (type) {
      case "bf16" -> Ops.to(values, DType.BF16);
      case "s8" -> Ops.to(Ops.affine(values, 127, 0), DType.I8);
      default -> values;
    };
  }

  private void add(Tensor weights) {
    if (type.startsWith("int4")) {
      long n = weights.dim(0);
      long k = weights.dim(1);
      Tensor codes = Ops.full(Device.CPU, DType.I32, 0x12345678, n, PackedWeight.wordsPerRow(k, 4));
      Tensor scales = Ops.full(Device.CPU, DType.F16, 0.125, n, Math.ceilDiv(k, GROUP));
      PackedWeight own = new PackedWeight(4, k, GROUP, codes, scales, null, null);
      weightBytes = own.byteSize();
      Ops.freeze(codes);
      calls.add(() -> QuantOps.packedLinear(x, own, null));
      return;
    }
    Tensor converted = converted(type, weights);
    Tensor own = converted == weights && !calls.isEmpty() ? Ops.copy(weights) : converted;
    weightBytes = own.byteSize();
    Ops.freeze(own);
    calls.add(
        switch (library) {
          case "onednn" -> onednn(own);
          case "openblas" -> openblas(own);
          default ->
              type.equals("s8")
                  ? () -> QuantOps.scaledLinear(x, xScale, own, wScale, null)
                  : () -> Ops.linear(x, own, null);
        });
  }

  private Runnable onednn(Tensor w) {
    Onednn product = new Onednn(x, w, out, threads);
    peers.add(product);
    return product::run;
  }

  private Runnable openblas(Tensor w) {
    Blas blas = Blas.openblas(threads);
    int m = (int) x.dim(0);
    int n = (int) w.dim(0);
    int k = (int) x.dim(1);
    return () -> blas.multiply(m, n, k, x.segment(), w.segment(), true, out.segment());
  }

  /** Frees what other libraries allocated. */
  @Override
  public void close() {
    peers.forEach(Onednn::close);
  }

  /** Bytes of one weight. */
  long weightBytes() {
    return weightBytes;
  }

  /** Computes the layer once, with the next weight. */
  void run() {
    try (Scope results = Scope.open()) {
      calls.get((int) (runs % calls.size())).run();
    }
    runs++;
  }

  /** Until each weight was used twice: frozen weights are packed in their second product. */
  void settle() {
    while (runs < 2L * calls.size()) {
      run();
    }
  }

  /** Repeats the layer for so many seconds; seconds for one. */
  double time(double seconds) {
    long start = now();
    long count = 0;
    double passed;
    do {
      run();
      count++;
      passed = (now() - start) * 1e-9;
    } while (passed < seconds);
    return passed / count;
  }

  /** With {@code -Dfqt.bench.clock=processor} the time that this thread was running. */
  static long now() {
    return PROCESSOR_TIME
        ? ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime()
        : System.nanoTime();
  }
}
