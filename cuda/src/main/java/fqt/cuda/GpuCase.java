package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * One matrix multiply with fresh random operands, on the GPU and in float64 on the host. The result
 * is poisoned first and lies inside a larger matrix, whose other elements must stay as they were.
 */
final class GpuCase implements AutoCloseable {
  private static final int GUARD = 3;
  private static final byte POISON = -1;

  private final CudaContext context;
  private final Random random;
  private final Arena arena = Arena.ofShared();
  private final java.util.List<Storage> storages = new java.util.ArrayList<>();

  final int m;
  final int n;
  final int k;
  final DType operand;
  final Tensor a;
  final Tensor b;
  final Tensor scaleA;
  final Tensor scaleB;
  final Tensor bias;
  private final double[] hostA;
  private final double[] hostB;
  private final double[] hostScaleA;
  private final double[] hostScaleB;
  private final double[] hostBias;
  private final boolean blockwise;

  GpuCase(CudaContext context, long seed, DType operand, int m, int n, int k, boolean blockwise) {
    this.context = context;
    this.random = new Random(seed);
    this.operand = operand;
    this.m = m;
    this.n = n;
    this.k = k;
    this.blockwise = blockwise;
    hostA = new double[m * k];
    hostB = new double[n * k];
    a = operands(hostA, m, k);
    b = operands(hostB, n, k);
    int acrossK = blockwise ? Math.ceilDiv(k, 128) : 1;
    hostScaleA = new double[m * acrossK];
    hostScaleB = new double[(blockwise ? Math.ceilDiv(n, 128) : n) * acrossK];
    // Results of a few units, whatever the operands: inside the range of every output type.
    double unit = operand == DType.I8 ? 1e-4 : operand == DType.BF16 ? 0.1 : 1e-2;
    scaleA = scales(hostScaleA, m, acrossK, 1);
    scaleB = scales(hostScaleB, hostScaleB.length / acrossK, acrossK, unit / Math.sqrt(k));
    hostBias = new double[n];
    bias = scales(hostBias, n, 1, 1).reshape(n);
  }

  private Tensor operands(double[] values, int rows, int columns) {
    MemorySegment bytes = arena.allocate((long) rows * columns * operand.byteSize(), 16);
    for (int i = 0; i < values.length; i++) {
      switch (operand) {
        case I8 -> {
          byte code = (byte) random.nextInt(-128, 128);
          bytes.set(ValueLayout.JAVA_BYTE, i, code);
          values[i] = code;
        }
        case F8_E4M3 -> {
          byte code = Float8.floatToE4m3((float) (random.nextGaussian() * 16));
          bytes.set(ValueLayout.JAVA_BYTE, i, code);
          values[i] = Float8.e4m3ToFloat(code);
        }
        default -> {
          short code = (short) (Float.floatToIntBits((float) random.nextGaussian()) >>> 16);
          bytes.setAtIndex(ValueLayout.JAVA_SHORT, i, code);
          values[i] = Float.intBitsToFloat(code << 16);
        }
      }
    }
    return upload(Tensor.of(bytes, operand, Shape.of(rows, columns)));
  }

  private Tensor scales(double[] values, int rows, int columns, double unit) {
    MemorySegment bytes = arena.allocate(values.length * 4L, 16);
    for (int i = 0; i < values.length; i++) {
      float value = (float) ((0.5 + random.nextDouble()) * unit);
      bytes.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
      values[i] = value;
    }
    return upload(Tensor.of(bytes, DType.F32, Shape.of(rows, columns)));
  }

  private Tensor upload(Tensor host) {
    Tensor target = Tensor.of(allocate(host.byteSize()), host.dtype(), host.shape());
    context.upload(host, target);
    return target;
  }

  private Storage allocate(long bytes) {
    Storage storage = context.allocate(bytes);
    storages.add(storage);
    return storage;
  }

  /** What computes the result into the tensor that it is given. */
  interface Multiply {
    void into(Tensor out);
  }

  /** The largest error, as a share of what is allowed, of all elements of some rows. */
  double error(DType outType, double sumBound, int rows, Multiply multiply) {
    int width = n + GUARD;
    Tensor whole =
        Tensor.of(
            allocate((long) (m + GUARD) * width * outType.byteSize()),
            outType,
            Shape.of(m + GUARD, width));
    context.fill(whole.storage(), POISON);
    Tensor out = whole.slice(0, 1, m + 1).slice(1, 1, n + 1);
    multiply.into(out);
    context.stream().synchronize();
    Tensor first = download(whole);
    multiply.into(out);
    context.stream().synchronize();
    if (first.segment().mismatch(download(whole).segment()) >= 0) {
      return Double.POSITIVE_INFINITY;
    }
    requireGuards(first, width);
    int step = Math.max(1, m / rows);
    return IntStream.range(0, Math.ceilDiv(m, step))
        .parallel()
        .mapToDouble(i -> rowError(first, i * step, outType, sumBound))
        .reduce(0, (x, y) -> Double.isNaN(x) || Double.isNaN(y) ? Double.NaN : Math.max(x, y));
  }

  private Tensor download(Tensor device) {
    Tensor host = Tensor.of(arena.allocate(device.byteSize(), 16), device.dtype(), device.shape());
    context.download(device, host);
    return host;
  }

  private void requireGuards(Tensor whole, int width) {
    long size = whole.dtype().byteSize();
    MemorySegment bytes = whole.segment();
    for (long i = 0; i < whole.count(); i++) {
      long row = i / width;
      long column = i % width;
      boolean inside = row >= 1 && row <= m && column >= 1 && column <= n;
      for (long j = 0; !inside && j < size; j++) {
        if (bytes.get(ValueLayout.JAVA_BYTE, i * size + j) != POISON) {
          throw new IllegalStateException(
              "element [%d, %d] outside of the result was written".formatted(row - 1, column - 1));
        }
      }
    }
  }

  private double rowError(Tensor whole, int row, DType outType, double sumBound) {
    double rounding =
        switch (outType) {
          case BF16 -> 0x1p-8;
          case F16 -> 0x1p-10;
          default -> 0x1p-21;
        };
    double worst = 0;
    for (int column = 0; column < n; column++) {
      double sum = 0;
      double magnitude = 0;
      int acrossK = blockwise ? Math.ceilDiv(k, 128) : 1;
      for (int block = 0; block < acrossK; block++) {
        double part = 0;
        double size = 0;
        int end = blockwise ? Math.min(k, block * 128 + 128) : k;
        for (int i = block * 128; i < end; i++) {
          double product = hostA[row * k + i] * hostB[column * k + i];
          part += product;
          size += Math.abs(product);
        }
        double scale =
            hostScaleA[row * acrossK + block]
                * hostScaleB[(blockwise ? column / 128 : column) * acrossK + block];
        sum += outType == DType.I32 ? part : part * scale;
        magnitude += size * scale;
      }
      double got = whole.get(row + 1, column + 1);
      if (outType == DType.I32) {
        worst = Math.max(worst, got == sum ? 0 : Double.POSITIVE_INFINITY);
        continue;
      }
      double expected = sum + hostBias[column];
      double allowed =
          rounding * (Math.abs(expected) + 0x1p-10)
              + sumBound * magnitude
              + 0x1p-21 * (magnitude + Math.abs(hostBias[column]));
      double error = Math.abs(got - expected) / allowed;
      if (Double.isNaN(error)) {
        return Double.NaN;
      }
      worst = Math.max(worst, error);
    }
    return worst;
  }

  @Override
  public void close() {
    storages.forEach(Storage::release);
    arena.close();
  }
}
