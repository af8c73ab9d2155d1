package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.ObjDoubleConsumer;

/** The quantize kernels against the same arithmetic on the host: scales and codes bit by bit. */
final class QuantizeCheck {
  private static final int[][] SHAPES = {
    {1, 1},
    {3, 7},
    {2, 8},
    {5, 33},
    {4, 129},
    {7, 1000},
    {2, 3584},
    {3, 8192},
    {2, 18944},
    {1, 32768},
    {129, 896},
    {5000, 264}
  };
  private static final float EPSILON = 1e-6f;

  private final CudaContext context;
  private final Random random;
  private final ObjDoubleConsumer<String> report;

  QuantizeCheck(CudaContext context, Random random, ObjDoubleConsumer<String> report) {
    this.context = context;
    this.random = random;
    this.report = report;
  }

  void run() {
    for (int[] shape : SHAPES) {
      for (DType type : List.of(DType.BF16, DType.F16, DType.F32)) {
        for (DType codes : List.of(DType.I8, DType.F8_E4M3)) {
          if (codes == DType.I8 || context.capability() >= 89) {
            check(shape[0], shape[1], type, codes, Kind.TOKEN);
            check(shape[0], shape[1], type, codes, Kind.TENSOR);
            if (shape[1] <= CudaQuantize.MAX_COLUMNS_NORM) {
              check(shape[0], shape[1], type, codes, Kind.NORM);
            }
          }
        }
      }
    }
  }

  private enum Kind {
    TOKEN,
    TENSOR,
    NORM
  }

  private void check(int rows, int columns, DType type, DType codeType, Kind kind) {
    List<Storage> storages = new ArrayList<>();
    try (Arena arena = Arena.ofConfined()) {
      float[] x = new float[rows * columns];
      Tensor input = upload(arena, storages, x, type, Shape.of(rows, columns), 3);
      float[] w = new float[columns];
      Tensor weight = upload(arena, storages, w, type, Shape.of(columns), 1);
      float[] fixed = new float[1];
      Tensor scale = upload(arena, storages, fixed, DType.F32, Shape.of(1), 0.01);
      fixed[0] = Math.abs(fixed[0]);
      write(arena, scale, fixed);
      Tensor codes = device(storages, codeType, Shape.of(rows, columns));
      Tensor scales = device(storages, DType.F32, Shape.of(rows));
      context.fill(codes.storage(), (byte) 0x7F);
      context.fill(scales.storage(), (byte) -1);
      CudaQuantize quantize = new CudaQuantize(context);
      switch (kind) {
        case TOKEN -> quantize.perToken(context.stream(), input, codes, scales);
        case TENSOR -> quantize.perTensor(context.stream(), input, scale, codes);
        case NORM -> quantize.normPerToken(context.stream(), input, weight, EPSILON, codes, scales);
      }
      context.stream().synchronize();
      Tensor gotCodes = download(arena, codes);
      Tensor gotScales = download(arena, scales);
      int wrong = 0;
      for (int r = 0; r < rows; r++) {
        float[] row = row(x, w, r, columns, kind);
        float s = kind == Kind.TENSOR ? fixed[0] : (float) gotScales.get(r);
        float expected = scaleOf(row, codeType);
        boolean scaleRight =
            kind == Kind.TENSOR
                || (kind == Kind.TOKEN ? s == expected : Math.abs(s / expected - 1) < 1e-5);
        wrong += scaleRight ? 0 : 1;
        for (int c = 0; c < columns; c++) {
          int off = distance(gotCodes, r, c, row[c] / s, codeType);
          // The norm's sum is rounded in another order: a code may fall on the other side.
          wrong += off > (kind == Kind.NORM ? 1 : 0) ? 1 : 0;
        }
      }
      report.accept(
          "quantize %s %s -> %s, %d x %d".formatted(kind, type, codeType, rows, columns),
          wrong == 0 ? 0 : Double.POSITIVE_INFINITY);
    } finally {
      storages.forEach(Storage::release);
    }
  }

  private static float[] row(float[] x, float[] w, int r, int columns, Kind kind) {
    float[] row = java.util.Arrays.copyOfRange(x, r * columns, (r + 1) * columns);
    if (kind == Kind.NORM) {
      double squares = 0;
      for (float value : row) {
        squares += (double) value * value;
      }
      float factor = (float) (1 / Math.sqrt(squares / columns + EPSILON));
      for (int i = 0; i < columns; i++) {
        row[i] = row[i] * w[i] * factor;
      }
    }
    return row;
  }

  private static float scaleOf(float[] row, DType codes) {
    float largest = 0;
    for (float value : row) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest == 0 ? 1 : largest / (codes == DType.I8 ? 127f : Float8.E4M3_MAX);
  }

  /** Steps between the code on the GPU and the right one. */
  private static int distance(Tensor codes, int r, int c, float quotient, DType type) {
    byte got = codes.segment().get(ValueLayout.JAVA_BYTE, r * codes.dim(1) + c);
    if (type == DType.I8) {
      return Math.abs(got - (int) Math.clamp(Math.rint(quotient), -128, 127));
    }
    byte right = Float8.floatToE4m3(quotient);
    return (got ^ right) < 0 ? (got | right) & 0x7F : Math.abs((got & 0x7F) - (right & 0x7F));
  }

  private Tensor upload(
      Arena arena, List<Storage> storages, float[] values, DType type, Shape shape, double unit) {
    for (int i = 0; i < values.length; i++) {
      float value = (float) (random.nextGaussian() * unit);
      values[i] =
          switch (type) {
            case BF16 -> Float.intBitsToFloat(Float.floatToIntBits(value) & 0xFFFF0000);
            case F16 -> Float.float16ToFloat(Float.floatToFloat16(value));
            default -> value;
          };
    }
    Tensor target = device(storages, type, shape);
    write(arena, target, values);
    return target;
  }

  private void write(Arena arena, Tensor target, float[] values) {
    MemorySegment bytes = arena.allocate(target.byteSize(), 16);
    for (int i = 0; i < values.length; i++) {
      switch (target.dtype()) {
        case F32 -> bytes.setAtIndex(ValueLayout.JAVA_FLOAT, i, values[i]);
        case F16 -> bytes.setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(values[i]));
        default ->
            bytes.setAtIndex(
                ValueLayout.JAVA_SHORT, i, (short) (Float.floatToIntBits(values[i]) >>> 16));
      }
    }
    context.upload(Tensor.of(bytes, target.dtype(), target.shape()), target);
  }

  private Tensor device(List<Storage> storages, DType type, Shape shape) {
    Storage storage = context.allocate(shape.count() * type.byteSize());
    storages.add(storage);
    return Tensor.of(storage, type, shape);
  }

  private Tensor download(Arena arena, Tensor device) {
    Tensor host = Tensor.of(arena.allocate(device.byteSize(), 16), device.dtype(), device.shape());
    context.download(device, host);
    return host;
  }
}
