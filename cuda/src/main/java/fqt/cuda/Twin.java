package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Random;
import java.util.function.Function;

/**
 * One operation on two devices: makes inputs on the CPU, runs the operation there and on the GPU,
 * and compares. The GPU runs it twice, on memory that was poisoned before, and both results must
 * have the same bits.
 */
final class Twin {
  /** Where results go: what was checked, and its error as a share of what is allowed. */
  interface Report {
    void add(String title, double error);
  }

  private static final int[] SIZES = {
    1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200, 255, 257
  };
  private static final long POISONED_BYTES = 1 << 22;

  private final String name;
  private final Device gpu;
  private final Random random;
  private final Report report;

  Twin(String name, Device gpu, Random random, Report report) {
    this.name = name;
    this.gpu = gpu;
    this.random = random;
    this.report = report;
  }

  /** For choices that are not sizes. */
  Random random() {
    return random;
  }

  /** An awkward size. */
  long size() {
    return SIZES[random.nextInt(SIZES.length)];
  }

  /** One of some choices. */
  @SafeVarargs
  final <T> T choose(T... choices) {
    return choices[random.nextInt(choices.length)];
  }

  /** Normally distributed numbers in a type. */
  Tensor normal(DType dtype, long... dims) {
    long count = 1;
    for (long dim : dims) {
      count *= dim;
    }
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Ops.to(Ops.of(values, dims), dtype);
  }

  /** F32 numbers, normally distributed. */
  Tensor normal(long... dims) {
    return normal(DType.F32, dims);
  }

  /** Whole numbers from {@code low} to {@code high}, both included, in a type. */
  Tensor integers(DType dtype, int low, int high, long... dims) {
    long count = 1;
    for (long dim : dims) {
      count *= dim;
    }
    int[] values = new int[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = low + random.nextInt(high - low + 1);
    }
    return Ops.to(Ops.of(values, dims), dtype);
  }

  /** Demands the same bits. */
  void same(String what, Function<Tensor[], Tensor[]> operation, Tensor... inputs) {
    check(what, 0, operation, inputs);
  }

  /**
   * Demands results that differ by no more than {@code bound} times the sum of an element's
   * magnitude and the root mean square of all.
   *
   * @param operation must not change its inputs; all results are compared; null ones are skipped
   * @param inputs tensors on the CPU, or null
   */
  void check(String what, double bound, Function<Tensor[], Tensor[]> operation, Tensor... inputs) {
    try (Scope scope = Scope.open()) {
      Tensor[] expected = operation.apply(inputs);
      Tensor[] moved = new Tensor[inputs.length];
      for (int i = 0; i < inputs.length; i++) {
        moved[i] = inputs[i] == null ? null : onGpu(inputs[i]);
      }
      poison();
      Tensor[] first = operation.apply(moved);
      poison();
      Tensor[] second = operation.apply(moved);
      for (int i = 0; i < expected.length; i++) {
        if (expected[i] != null) {
          String title = "%s %s -> %s".formatted(name, what, expected[i]);
          Tensor result = Ops.to(first[i], Device.CPU);
          report.add(title, error(bound, expected[i], result));
          report.add(title + ", again", error(0, result, Ops.to(second[i], Device.CPU)));
        }
      }
    }
  }

  /**
   * Demands a result that differs by no more than a reference allows for each element.
   *
   * @param operation must not change its inputs
   * @param inputs tensors on the CPU
   */
  void within(
      String what, Reference reference, Function<Tensor[], Tensor> operation, Tensor... inputs) {
    try (Scope scope = Scope.open()) {
      Tensor[] moved = new Tensor[inputs.length];
      for (int i = 0; i < inputs.length; i++) {
        moved[i] = onGpu(inputs[i]);
      }
      poison();
      Tensor first = operation.apply(moved);
      poison();
      Tensor second = operation.apply(moved);
      String title = "%s %s -> %s".formatted(name, what, first);
      Tensor result = Ops.to(first, Device.CPU);
      report.add(title, reference.error(result));
      report.add(title + ", again", error(0, result, Ops.to(second, Device.CPU)));
    }
  }

  /** The same elements with the same strides, as far as a transposed matrix goes. */
  private Tensor onGpu(Tensor x) {
    boolean transposed = x.rank() == 2 && !x.isContiguous() && x.stride(0) == 1;
    return transposed ? Ops.to(x.transpose(0, 1), gpu).transpose(0, 1) : Ops.to(x, gpu);
  }

  /** Leaves NaNs in the memory that the next operations will be given. */
  private void poison() {
    try (Scope scope = Scope.open()) {
      Tensor unusedLarge = Ops.full(gpu, DType.U8, 255, POISONED_BYTES);
      Tensor unusedSmall = Ops.full(gpu, DType.U8, 255, POISONED_BYTES >> 4);
    }
  }

  private static double error(double bound, Tensor expected, Tensor result) {
    if (!expected.shape().equals(result.shape()) || expected.dtype() != result.dtype()) {
      return Double.POSITIVE_INFINITY;
    }
    Tensor want = Ops.contiguous(expected).reshape(-1);
    Tensor got = Ops.contiguous(result).reshape(-1);
    double squares = 0;
    for (long i = 0; i < want.count(); i++) {
      double value = want.get(i);
      squares += Double.isFinite(value) ? value * value : 0;
    }
    double typical = Math.sqrt(squares / Math.max(1, want.count()));
    double worst = 0;
    for (long i = 0; i < want.count(); i++) {
      double a = want.get(i);
      double b = got.get(i);
      if (Double.compare(a, b) != 0 && !(a == b)) {
        double allowed = bound * (Math.abs(a) + typical);
        double distance = Math.abs(a - b);
        worst =
            Math.max(worst, distance <= allowed ? distance / allowed : misfit(distance, allowed));
      }
    }
    return worst;
  }

  private static double misfit(double distance, double allowed) {
    return allowed > 0 && distance < Double.POSITIVE_INFINITY
        ? distance / allowed
        : Double.POSITIVE_INFINITY;
  }
}
