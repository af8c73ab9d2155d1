package fqt.bench;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.Random;

/**
 * The operations of quantization on a GPU, at the sizes of a 7-billion-parameter model: {@code
 * bench/run cuda-ops [a word of the names]}. Times are by the wall, of as many calls as take a
 * while, the host's part included; each line has the floor that its bytes or operations set.
 */
final class CudaOpsBench {
  private static final Device GPU = Device.cuda(0);
  private static final long LEAST_NANOS = 60_000_000L;

  /** Bytes a second of a copy, and operations a second of bf16 tensor cores, of an H200. */
  private static final double COPY = 4.2e12;

  private static final double BF16 = 7.8e14;
  private static final double F32 = 6.0e13;

  private static final long HIDDEN = 3584;
  private static final long INNER = 18_944;
  private static final long GATED = 37_888;
  private static final long TOKENS = 2048;

  private final String filter;
  private final Random random = new Random(5);

  private CudaOpsBench(String filter) {
    this.filter = filter;
  }

  public static void main(String[] arguments) {
    CudaOpsBench bench = new CudaOpsBench(arguments.length == 0 ? "" : arguments[0]);
    bench.hessians(HIDDEN);
    bench.hessians(INNER);
    bench.column(HIDDEN);
    bench.column(GATED);
    bench.codes();
    for (int bits : new int[] {4, 8, 3, 2}) {
      bench.packed(bits, GATED, HIDDEN);
      bench.packed(bits, HIDDEN, INNER);
    }
  }

  private void hessians(long size) {
    try (Scope scope = Scope.open()) {
      Tensor x = normal(TOKENS, size);
      Tensor sum = Ops.zeros(GPU, DType.F32, size, size);
      double operations = (double) TOKENS * size * (size + 1);
      time(
          "syrk f32 %d x %d".formatted(TOKENS, size),
          3 * operations / BF16,
          () -> Ops.syrkInto(1, x, 1, sum));
      Tensor unit = Ops.full(GPU, DType.F32, 0, size, size);
      Ops.syrkInto(1f / TOKENS, x, 0, unit);
      Tensor diagonal = Ops.affine(unit, 0.5f, 0);
      Tensor identity = identity(size);
      Tensor definite = Ops.add(diagonal, identity);
      Tensor factor = Ops.copy(definite);
      double third = (double) size * size * size / 3;
      time(
          "copy and cholesky " + size,
          third / F32,
          () -> {
            Ops.copyInto(definite, factor);
            if (Ops.choleskyInPlace(factor) >= 0) {
              throw new IllegalStateException("no factor");
            }
          });
      time("invertLower " + size, third / F32, () -> Ops.invertLower(factor));
    }
  }

  private Tensor identity(long size) {
    Tensor square = Ops.full(GPU, DType.F32, 0, size * size);
    Tensor diagonal =
        square.slice(0, 0, size * size - 1).reshape(size - 1, size + 1).slice(1, 0, 1);
    Ops.fill(diagonal, 1);
    Ops.fill(square.slice(0, size * size - 1, size * size), 1);
    return square.reshape(size, size);
  }

  private void column(long rows) {
    try (Scope scope = Scope.open()) {
      Tensor w = normal(rows, 128);
      Tensor upper = Ops.affine(normal(128, 128), 0.01f, 1);
      Tensor scale = Ops.full(GPU, DType.F32, 0.3, rows, 128);
      Tensor zero = Ops.full(GPU, DType.F32, 8, rows, 128);
      Tensor codes = Ops.empty(GPU, DType.U8, rows, 128);
      Tensor error = Ops.empty(GPU, DType.F32, rows, 128);
      time(
          "gptqBlock %d x 128".formatted(rows),
          rows * 128.0 * 21 / COPY,
          () -> QuantOps.gptqBlock(w, upper, scale, zero, 15, codes, error));
    }
  }

  private void codes() {
    try (Scope scope = Scope.open()) {
      Tensor x = normal(GATED, HIDDEN);
      Blocks groups = Blocks.perGroup(128);
      Shape shape = groups.scaleShape(GATED, HIDDEN);
      Tensor scale = Ops.full(GPU, DType.F32, 0.3, shape.toArray());
      Tensor zero = Ops.full(GPU, DType.F32, 8, shape.toArray());
      Tensor codes = QuantOps.quantize(x, groups, scale, zero, 0, 15, DType.U8);
      Tensor words = QuantOps.pack(codes, 4);
      double count = (double) GATED * HIDDEN;
      time("blockRange g128", 4 * count / COPY, () -> QuantOps.blockRange(x, groups));
      time(
          "blockRange 128x128",
          4 * count / COPY,
          () -> QuantOps.blockRange(x, new Blocks(128, 128)));
      time(
          "quantize g128 u8",
          5 * count / COPY,
          () -> QuantOps.quantize(x, groups, scale, zero, 0, 15, DType.U8));
      time(
          "quantize g128 e4m3",
          5 * count / COPY,
          () -> QuantOps.quantize(x, groups, scale, null, -448, 448, DType.F8_E4M3));
      time(
          "dequantize g128 f32",
          5 * count / COPY,
          () -> QuantOps.dequantize(codes, groups, scale, zero, DType.F32));
      time(
          "fakeQuantize g128",
          8 * count / COPY,
          () -> QuantOps.fakeQuantize(x, groups, scale, zero, 0, 15, DType.U8));
      time(
          "quantizationError g128",
          4 * count / COPY,
          () -> QuantOps.quantizationError(x, groups, scale, zero, 0, 15, DType.U8));
      time("pack 4 bits", 1.5 * count / COPY, () -> QuantOps.pack(codes, 4));
      time("unpack 4 bits", 1.5 * count / COPY, () -> QuantOps.unpack(words, 4, HIDDEN));
    }
  }

  private void packed(int bits, long outputs, long inputs) {
    try (Scope scope = Scope.open()) {
      long groups = inputs / 128;
      Tensor words = QuantOps.pack(Ops.full(GPU, DType.U8, (1 << bits) - 2, outputs, inputs), bits);
      Tensor scales = Ops.full(GPU, DType.BF16, 0.01, outputs, groups);
      PackedWeight weight = new PackedWeight(bits, inputs, 128, words, scales, null, null);
      for (long tokens : new long[] {1, 4, 16, 32, 256, TOKENS}) {
        Tensor x = normal(tokens, inputs);
        double bytes = weight.byteSize() + 4.0 * tokens * (inputs + outputs);
        double floor = Math.max(bytes / COPY, 4.0 * tokens * outputs * inputs / BF16);
        String name = "packedLinear %d bits, %d x %d x %d".formatted(bits, tokens, outputs, inputs);
        time(name, floor, () -> QuantOps.packedLinear(x, weight, null));
      }
    }
  }

  private Tensor normal(long rows, long columns) {
    float[] values = new float[Math.toIntExact(Math.min(rows * columns, 1 << 22))];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    try (Scope scope = Scope.open()) {
      Tensor some = Ops.to(Ops.of(values, values.length), GPU);
      Tensor all = Ops.empty(GPU, DType.F32, rows * columns);
      for (long at = 0; at < all.count(); at += values.length) {
        long count = Math.min(values.length, all.count() - at);
        Ops.copyInto(some.slice(0, 0, count), all.slice(0, at, at + count));
      }
      return scope.keep(all).reshape(rows, columns);
    }
  }

  private void time(String name, double floorSeconds, Runnable call) {
    if (!name.contains(filter)) {
      return;
    }
    double[] times = new double[3];
    run(call, 2);
    int calls = Math.clamp(LEAST_NANOS / Math.max(1, run(call, 1)), 1, 2000);
    for (int i = 0; i < times.length; i++) {
      times[i] = run(call, calls) / 1e3 / calls;
    }
    java.util.Arrays.sort(times);
    System.out.printf(
        "| %s | %.1f | %.1f | %.0f %% |%n",
        name, times[1], floorSeconds * 1e6, 100 * floorSeconds * 1e6 / times[1]);
  }

  /** Nanoseconds of some calls until the GPU has finished them. */
  private static long run(Runnable call, int calls) {
    await();
    long start = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      try (Scope scope = Scope.open()) {
        call.run();
      }
    }
    await();
    return System.nanoTime() - start;
  }

  private static void await() {
    try (Scope scope = Scope.open()) {
      Ops.to(Ops.zeros(GPU, DType.F32, 1), Device.CPU);
    }
  }
}
