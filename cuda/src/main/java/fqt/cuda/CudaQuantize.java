package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Activations to 8 bits on one GPU: {@code code = x / scale}, rounded half to even and saturated.
 * Per token, {@code scale = max |x| / 127} for int8 and {@code / 448} for e4m3, but at least
 * 2^-126; a NaN makes the scale, and so the row's results, NaN. Codes may be a view into wider
 * rows; matrix multiply is fastest where those are multiples of 16 bytes.
 */
public final class CudaQuantize {
  /** Longest row: what the threads of one block keep in registers. */
  public static final int MAX_COLUMNS = 32_768;

  /** Longest row that is normalized, which takes more registers. */
  public static final int MAX_COLUMNS_NORM = 24_576;

  private static final int PER_THREAD = 32;
  private static final int ROUND = 32;
  private static final int RESIDENT_THREADS = 1024;
  private static final int RESIDENT_THREADS_NORM = 768;

  /** Endings of the kernels' names by {@link Checks#floatCode}. */
  private static final List<String> TYPES = List.of("_bf16", "_f16", "_f32");

  private final CudaContext context;

  /**
   * Quantization on a GPU.
   *
   * @param context the GPU that quantizes
   */
  public CudaQuantize(CudaContext context) {
    this.context = context;
  }

  /**
   * Quantizes each row with a scale of its own.
   *
   * @param stream where the kernel is put
   * @param x BF16, F16 or F32 [M, K], K at most {@link #MAX_COLUMNS}
   * @param codes I8 or F8_E4M3 [M, K], written
   * @param scales F32 [M], written
   */
  public void perToken(CudaStream stream, Tensor x, Tensor codes, Tensor scales) {
    Checks.require(scales.count() == x.dim(0), "the scales are %s; expected %d", scales, x.dim(0));
    run(stream, x, null, 0, codes, scales, false);
  }

  /**
   * Normalizes each row by its root mean square, {@code y = x * weight / sqrt(mean(x²) + epsilon)},
   * in float32, and quantizes y with a scale of its own. The root divides y and its largest
   * magnitude alike, so it is left out of their quotient: a code that lies within some last bits of
   * float32 of the middle between two may be the other one.
   *
   * @param stream where the kernel is put
   * @param x BF16, F16 or F32 [M, K], K at most {@link #MAX_COLUMNS_NORM}
   * @param weight [K] of the type of x
   * @param epsilon added to the mean square
   * @param codes I8 or F8_E4M3 [M, K], written
   * @param scales F32 [M], written
   */
  public void normPerToken(
      CudaStream stream, Tensor x, Tensor weight, float epsilon, Tensor codes, Tensor scales) {
    Checks.require(scales.count() == x.dim(0), "the scales are %s; expected %d", scales, x.dim(0));
    Checks.require(
        weight.dtype() == x.dtype() && weight.count() == x.dim(1),
        "the norm's weight is %s; expected %s[%d]",
        weight,
        x.dtype(),
        x.dim(1));
    run(stream, x, weight, epsilon, codes, scales, false);
  }

  /**
   * Quantizes with one given scale.
   *
   * @param stream where the kernel is put
   * @param x BF16, F16 or F32 [M, K]
   * @param scale F32 of one element, read
   * @param codes I8 or F8_E4M3 [M, K], written
   */
  public void perTensor(CudaStream stream, Tensor x, Tensor scale, Tensor codes) {
    Checks.require(scale.count() == 1, "the scale is %s; expected one element", scale);
    run(stream, x, null, 0, codes, scale, true);
  }

  private void run(
      CudaStream stream,
      Tensor x,
      Tensor weight,
      float epsilon,
      Tensor codes,
      Tensor scales,
      boolean fixed) {
    Checks.matrix(x, "x");
    Checks.matrix(codes, "the codes");
    Checks.require(
        codes.shape().equals(x.shape()), "the codes are %s; expected the shape of %s", codes, x);
    int longest = weight == null ? MAX_COLUMNS : MAX_COLUMNS_NORM;
    Checks.require(
        x.dim(1) <= longest, "x is %s; rows of more than %d cannot be quantized", x, longest);
    Checks.require(scales.dtype() == DType.F32, "the scales are %s; expected F32", scales);
    boolean float8 = codes.dtype() == DType.F8_E4M3;
    Checks.require(
        float8 || codes.dtype() == DType.I8, "the codes are %s; expected I8 or F8_E4M3", codes);
    if (float8 && context.capability() < 89) {
      throw new IllegalStateException(context.device() + " has no 8-bit floats; it needs 8.9");
    }
    if (x.count() == 0) {
      return;
    }
    int threads =
        (int) (Math.ceilDiv(Math.ceilDiv(x.dim(1), (long) PER_THREAD), (long) ROUND) * ROUND);
    synchronized (context) {
      context.bind();
      LaunchBlock block = context.block();
      write(block.arguments(), x, weight, epsilon, codes, scales);
      block.argument(0, block.arguments().address());
      block.shape((int) Math.min(x.dim(0), blocks(threads, weight != null)), 1, threads, 0, 1);
      String kernel =
          (float8 ? "quantize_e4m3" : "quantize_s8")
              + (fixed ? "_tensor" : weight == null ? "_token" : "_norm")
              + TYPES.get(Checks.floatCode(x.dtype(), "x"));
      long function = context.kernels().find(module(context), kernel, 0);
      context.check(
          block.launch(stream.handle().address(), function, false, context.capability() >= 90),
          "launching " + kernel + " for " + x);
    }
  }

  /** Blocks that run at the same time: as many threads a multiprocessor as have their registers. */
  private long blocks(int threads, boolean norm) {
    int resident = norm ? RESIDENT_THREADS_NORM : RESIDENT_THREADS;
    return (long) context.processors() * Math.max(1, resident / threads);
  }

  /** Writes the fields of {@code QuantizeArgs} (quantize.cu) in their order. */
  private void write(
      MemorySegment target, Tensor x, Tensor weight, float epsilon, Tensor codes, Tensor scales) {
    target.set(JAVA_LONG, 0, Checks.address(x, context.device(), "x"));
    target.set(
        JAVA_LONG,
        8,
        weight == null ? 0 : Checks.contiguous(weight, context.device(), "the norm's weight"));
    target.set(JAVA_LONG, 16, Checks.address(codes, context.device(), "the codes"));
    target.set(JAVA_LONG, 24, Checks.contiguous(scales, context.device(), "the scales"));
    target.set(JAVA_LONG, 32, Checks.rowStride(x));
    target.set(JAVA_LONG, 40, Checks.rowStride(codes));
    target.set(JAVA_INT, 48, (int) x.dim(1));
    target.set(JAVA_FLOAT, 52, epsilon);
    target.set(JAVA_LONG, 56, x.dim(0));
  }

  /** The PTX for a GPU. */
  static String module(CudaContext context) {
    if (context.capability() == 90) {
      return "quantize_sm90a";
    }
    return context.capability() >= 89 ? "quantize_sm89" : "quantize_sm80";
  }
}
