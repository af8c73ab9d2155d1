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
    // More rows than blocks at a time: of one warp, of many, with rows that end anywhere.
    {5000, 264},
    {270, 12296},
    {140, 16391}
  };
  private static final float EPSILON = 1e-6f;

  /** The norm's sum is rounded in another order, and its factor leaves the quotient first. */
  private static final float NORM_SLACK = 1e-5f;

  /** Makes a row one that the quick way cannot take. */
  private interface Strange {
    void make(float[] x, int from, int to);
  }

  private static final List<Strange> STRANGE =
      List.of(
          (x, from, to) -> x[from + 5] = Float.NaN,
          (x, from, to) -> x[from + 70] = Float.NEGATIVE_INFINITY,
          (x, from, to) -> scale(x, from, to, 0),
          (x, from, to) -> scale(x, from, to, 0x1p-129f),
          (x, from, to) -> scale(x, from, to, 0x1p-50f),
          (x, from, to) -> scale(x, from, to, 0x1p45f),
          (x, from, to) -> scale(x, from + 9, from + 10, 0x1p42f));

  private final CudaContext context;
  private final Random random;
  private final CheckChoice choice;
  private final ObjDoubleConsumer<String> report;

  QuantizeCheck(
      CudaContext context, Random random, CheckChoice choice, ObjDoubleConsumer<String> report) {
    this.context = context;
    this.random = random;
    this.choice = choice;
    this.report = report;
  }

  void run() {
    for (int[] shape : SHAPES) {
      for (DType type : List.of(DType.BF16, DType.F16, DType.F32)) {
        for (DType codes : List.of(DType.I8, DType.F8_E4M3)) {
          if (codes == DType.I8 || context.capability() >= 89) {
            check(shape[0], shape[1], type, codes, false);
          }
        }
      }
    }
    check(STRANGE.size(), 1000, DType.BF16, DType.I8, true);
    check(STRANGE.size(), 77, DType.F32, DType.I8, true);
    if (context.capability() >= 89) {
      check(STRANGE.size(), 1000, DType.BF16, DType.F8_E4M3, true);
      check(STRANGE.size(), 77, DType.F32, DType.F8_E4M3, true);
    }
  }

  private void check(int rows, int columns, DType type, DType codes, boolean strange) {
    for (Kind kind : Kind.values()) {
      String title =
          "quantize %s %s -> %s, %d x %d%s"
              .formatted(kind, type, codes, rows, columns, strange ? ", strange" : "");
      boolean possible = kind != Kind.NORM || columns <= CudaQuantize.MAX_COLUMNS_NORM;
      if (possible && choice.wants(title)) {
        report.accept(title, error(rows, columns, type, codes, kind, strange));
      }
    }
  }

  private enum Kind {
    TOKEN,
    TENSOR,
    NORM
  }

  private static void scale(float[] x, int from, int to, float by) {
    for (int i = from; i < to; i++) {
      x[i] *= by;
    }
  }

  /** 0 if all scales and codes are right, infinite otherwise. */
  private double error(
      int rows, int columns, DType type, DType codeType, Kind kind, boolean strange) {
    List<Storage> storages = new ArrayList<>();
    try (Arena arena = Arena.ofConfined()) {
      float[] x = new float[rows * columns];
      Tensor input = upload(arena, storages, x, type, Shape.of(rows, columns), 3);
      if (strange) {
        for (int r = 0; r < rows; r++) {
          STRANGE.get(r).make(x, r * columns, (r + 1) * columns);
        }
        round(x, type);
        write(arena, input, x);
      }
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
      float slack = kind == Kind.NORM ? NORM_SLACK : 0;
      for (int r = 0; r < rows; r++) {
        float[] row = row(x, w, r, columns, kind);
        float s = kind == Kind.TENSOR ? fixed[0] : (float) gotScales.get(r);
        boolean right = kind == Kind.TENSOR || near(s, scaleOf(row, codeType), slack);
        for (int c = 0; c < columns; c++) {
          byte code = gotCodes.segment().get(ValueLayout.JAVA_BYTE, (long) r * columns + c);
          float quotient = row[c] / s;
          right &=
              same(code, code(quotient * (1 - slack), codeType), codeType)
                  || same(code, code(quotient * (1 + slack), codeType), codeType);
        }
        if (!right) {
          return Double.POSITIVE_INFINITY;
        }
      }
      return 0;
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
    return Math.max(largest / (codes == DType.I8 ? 127f : Float8.E4M3_MAX), Float.MIN_NORMAL);
  }

  private static boolean near(float got, float expected, float slack) {
    return Float.compare(got, expected) == 0 || Math.abs(got / expected - 1) <= slack;
  }

  private static byte code(float quotient, DType type) {
    return type == DType.I8
        ? (byte) Math.clamp(Math.rint(quotient), -128, 127)
        : Float8.floatToE4m3(quotient);
  }

  /** Whether two codes are the same; zeros and NaN of either sign are. */
  private static boolean same(byte a, byte b, DType type) {
    boolean anySign = ((a | b) & 0x7F) == 0 || (a & b & 0x7F) == 0x7F;
    return a == b || type == DType.F8_E4M3 && anySign;
  }

  private Tensor upload(
      Arena arena, List<Storage> storages, float[] values, DType type, Shape shape, double unit) {
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * unit);
    }
    round(values, type);
    Tensor target = device(storages, type, shape);
    write(arena, target, values);
    return target;
  }

  /** To values that a type has. */
  private static void round(float[] values, DType type) {
    for (int i = 0; i < values.length; i++) {
      float value = values[i];
      values[i] =
          switch (type) {
            case BF16 -> Float.intBitsToFloat(Float.floatToIntBits(value) & 0xFFFF0000);
            case F16 -> Float.float16ToFloat(Float.floatToFloat16(value));
            default -> value;
          };
    }
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
