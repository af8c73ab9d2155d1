package fqt.tools;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;

/**
 * A quick look at how fast the kernels are here, beside what the machine can do at all: the fastest
 * run of each, since others may use the machine too. For numbers to rely on there is the JMH suite.
 */
final class SelfMeasure {
  private static final long GROUP = 128;

  private final double seconds;
  private final List<Row> rows = new ArrayList<>();

  /**
   * One measurement.
   *
   * @param rate in units of {@code unit}
   * @param ceiling the most that this machine could do; 0 for a ceiling itself
   */
  record Row(String name, double rate, String unit, double ceiling) {}

  private SelfMeasure(double seconds) {
    this.seconds = seconds;
  }

  /**
   * Measures all.
   *
   * @param size rows and columns of the matrices, a multiple of 128
   * @param seconds how long to measure each
   */
  static List<Row> run(int size, double seconds) {
    SelfMeasure measure = new SelfMeasure(seconds);
    measure.all(size);
    return measure.rows;
  }

  private void all(int size) {
    double flops;
    double reads;
    try (Ceilings ceilings = new Ceilings()) {
      flops =
          add(
              "multiply-adds in registers",
              "GFLOP/s",
              0,
              ceilings.operations(),
              ceilings::multiplyAdds);
      reads = add("memory read", "GB/s", 0, ceilings.bytes(), ceilings::read);
      add("memory copy (read + write)", "GB/s", 0, ceilings.bytes(), ceilings::copy);
      if (Double.isNaN(ceilings.sink())) {
        throw new IllegalStateException("the ceilings were computed wrongly");
      }
    }
    try (Scope scope = Scope.open()) {
      products(size, flops);
      vectors(4 * size, reads);
    }
  }

  private void products(int n, double flops) {
    Tensor x = ramp(n, n);
    Tensor w = ramp(n, n);
    double operations = 2.0 * n * n * n;
    String shape = " %d × %d × %d".formatted(n, n, n);
    add("f32 product" + shape, "GFLOP/s", flops, operations, linear(x, w));
    Tensor scale = Ops.full(Device.CPU, DType.F32, 1.0 / 127, n);
    Tensor codes = Ops.to(Ops.affine(x, 127, 0), DType.I8);
    Tensor weights = Ops.to(Ops.affine(w, 127, 0), DType.I8);
    Supplier<Tensor> int8 = () -> QuantOps.scaledLinear(codes, scale, weights, scale, null);
    add("int8 product" + shape, "Gop/s", flops, operations, inScope(int8));
  }

  /** One token, whose product reads every weight once. */
  private void vectors(int n, double reads) {
    Tensor x = ramp(1, n);
    Tensor w = ramp(n, n);
    String shape = ", one token, %d × %d".formatted(n, n);
    add("f32 linear" + shape, "GB/s", reads, w.byteSize(), linear(x, w));
    Tensor narrow = Ops.to(w, DType.BF16);
    add("bf16 linear" + shape, "GB/s", reads, narrow.byteSize(), linear(x, narrow));
    Tensor codes = Ops.full(Device.CPU, DType.I32, 0x12345678, n, n / 8);
    Tensor scales = Ops.full(Device.CPU, DType.F16, 0.125, n, n / GROUP);
    PackedWeight packed = new PackedWeight(4, n, GROUP, codes, scales, null, null);
    Supplier<Tensor> int4 = () -> QuantOps.packedLinear(x, packed, null);
    add("int4 linear" + shape, "GB/s", reads, packed.byteSize(), inScope(int4));
  }

  private static Runnable linear(Tensor x, Tensor w) {
    return inScope(() -> Ops.linear(x, w, null));
  }

  private static Runnable inScope(Supplier<Tensor> product) {
    return () -> {
      try (Scope scope = Scope.open()) {
        Tensor unused = product.get();
      }
    };
  }

  /** Values between −1 and 1 that do not repeat soon. */
  private static Tensor ramp(int rows, int columns) {
    float[] line = new float[columns];
    for (int i = 0; i < columns; i++) {
      line[i] = (float) Math.sin(0.37 * i);
    }
    Tensor one = Ops.of(line, 1, columns);
    Tensor[] copies = new Tensor[rows - 1];
    Arrays.fill(copies, one);
    return Ops.concatRows(one, copies);
  }

  /** Measures; returns the rate of the fastest run, in 1e9 a second. */
  private double add(String name, String unit, double ceiling, double work, Runnable function) {
    long begin = System.nanoTime();
    long fastest = Long.MAX_VALUE;
    int runs = 0;
    while (runs < 3 || System.nanoTime() - begin < seconds * 1e9) {
      long start = System.nanoTime();
      function.run();
      fastest = Math.min(fastest, System.nanoTime() - start);
      runs++;
    }
    double rate = work / fastest;
    rows.add(new Row(name, rate, unit, ceiling));
    return rate;
  }

  /** The rows as a table. */
  static Table table(List<Row> rows) {
    Table table = new Table("measured", "rate", "unit", "of the ceiling");
    for (Row row : rows) {
      table.row(
          row.name(),
          String.format(Locale.ROOT, row.rate() < 99.95 ? "%.1f" : "%.0f", row.rate()),
          row.unit(),
          row.ceiling() > 0
              ? String.format(Locale.ROOT, "%.0f %%", 100 * row.rate() / row.ceiling())
              : "");
    }
    return table;
  }
}
