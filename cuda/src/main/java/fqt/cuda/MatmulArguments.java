package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * A matrix multiply whose arguments have been checked, as addresses and sizes. {@link #write} lays
 * it out as the kernels' {@code GemmArgs}.
 */
record MatmulArguments(
    DType operand,
    long m,
    long n,
    long k,
    long a,
    long strideA,
    long b,
    long strideB,
    long out,
    int outType,
    long ldOut,
    int outBytes,
    long scaleA,
    int stepA,
    long scaleB,
    int stepB,
    int blockStepA,
    int blockStepB,
    long bias,
    int biasType) {
  /** Bytes of {@code GemmArgs}. */
  static final long BYTES = 88;

  private static final int OUT_I32 = 3;
  private static final int BIAS_NONE = 4;
  private static final long MAX_INT8_SUM = 131_071;

  /** Checks everything that does not depend on where the scales apply. */
  static MatmulArguments of(
      Device device,
      Tensor a,
      Tensor b,
      Tensor scaleA,
      Tensor scaleB,
      boolean blockwise,
      Tensor bias,
      Tensor out) {
    Checks.matrix(a, "A");
    Checks.matrix(b, "B");
    Checks.matrix(out, "the result");
    DType operand = a.dtype();
    Checks.require(operand == b.dtype(), "A is %s and B is %s; expected one type for both", a, b);
    long m = a.dim(0);
    long k = a.dim(1);
    long n = b.dim(0);
    Checks.require(b.dim(1) == k && k > 0, "A is %s and B is %s; expected [M, K], [N, K]", a, b);
    Checks.require(
        out.dim(0) == m && out.dim(1) == n, "the result is %s; expected [%d, %d]", out, m, n);
    Checks.require(
        operand != DType.I8 || k <= MAX_INT8_SUM,
        "sums of %d int8 products can overflow; expected at most %d",
        k,
        MAX_INT8_SUM);
    boolean raw = out.dtype() == DType.I32;
    Checks.require(
        !raw || operand == DType.I8 && scaleA == null && scaleB == null && bias == null,
        "an I32 result is for int8 without scales and bias");
    if (bias != null) {
      Checks.require(bias.count() == n, "the bias is %s; expected %d elements", bias, n);
    }
    return new MatmulArguments(
        operand,
        m,
        n,
        k,
        Checks.address(a, device, "A"),
        Checks.rowStride(a) * operand.byteSize(),
        Checks.address(b, device, "B"),
        Checks.rowStride(b) * operand.byteSize(),
        Checks.address(out, device, "the result"),
        raw ? OUT_I32 : Checks.floatCode(out.dtype(), "the result"),
        Checks.rowStride(out),
        out.dtype().byteSize(),
        scale(device, scaleA, m, k, blockwise, 1, "the scale of A"),
        step(scaleA, blockwise),
        scale(device, scaleB, n, k, blockwise, BLOCK, "the scale of B"),
        step(scaleB, blockwise),
        blockwise ? Math.toIntExact(scaleA.stride(1)) : 0,
        blockwise ? Math.toIntExact(scaleB.stride(1)) : 0,
        bias == null ? 0 : Checks.contiguous(bias, device, "the bias"),
        bias == null ? BIAS_NONE : Checks.floatCode(bias.dtype(), "the bias"));
  }

  /** Elements of K, and rows of B, that share a blockwise scale. */
  static final int BLOCK = 128;

  private static long scale(
      Device device, Tensor scale, long rows, long k, boolean blockwise, int group, String name) {
    if (blockwise) {
      long down = Math.ceilDiv(rows, group);
      long across = Math.ceilDiv(k, BLOCK);
      Checks.require(
          scale.dtype() == DType.F32
              && scale.rank() == 2
              && scale.dim(0) == down
              && scale.dim(1) == across,
          "%s is %s; expected F32[%d, %d]",
          name,
          scale,
          down,
          across);
      return Checks.address(scale, device, name);
    }
    if (scale == null) {
      return 0;
    }
    Checks.require(
        scale.dtype() == DType.F32 && (scale.count() == 1 || scale.count() == rows),
        "%s is %s; expected F32 with 1 or %d elements",
        name,
        scale,
        rows);
    return Checks.contiguous(scale, device, name);
  }

  private static int step(Tensor scale, boolean blockwise) {
    if (blockwise) {
      return Math.toIntExact(scale.stride(0));
    }
    return scale == null || scale.count() == 1 ? 0 : 1;
  }

  /** The same with operands somewhere else. */
  MatmulArguments withOperands(long a, long strideA, long b, long strideB) {
    return new MatmulArguments(
        operand,
        m,
        n,
        k,
        a,
        strideA,
        b,
        strideB,
        out,
        outType,
        ldOut,
        outBytes,
        scaleA,
        stepA,
        scaleB,
        stepB,
        blockStepA,
        blockStepB,
        bias,
        biasType);
  }

  /** Bytes of K in a row. */
  long bytesK() {
    return k * operand.byteSize();
  }

  /** Steps of 128 bytes along K. */
  long blocks() {
    return Math.ceilDiv(bytesK(), GemmPlan.STEP_BYTES);
  }

  /** Whether rows of the result begin where the copy engine can write. */
  private boolean aligned() {
    return (out | ldOut * outBytes) % 16 == 0;
  }

  /** Whether the copy engine may store the result: 16-bit elements in aligned rows. */
  boolean copiesOut() {
    return aligned() && outBytes == Short.BYTES;
  }

  /**
   * Writes the fields of {@code GemmArgs} (gemm.cuh) in their order.
   *
   * @param settled whether B may be read while the kernel before this one still runs
   */
  void write(MemorySegment target, int raster, boolean settled) {
    target.set(JAVA_LONG, 0, out);
    target.set(JAVA_LONG, 8, scaleA);
    target.set(JAVA_LONG, 16, scaleB);
    target.set(JAVA_LONG, 24, bias);
    target.set(JAVA_LONG, 32, ldOut);
    target.set(JAVA_INT, 40, (int) m);
    target.set(JAVA_INT, 44, (int) n);
    target.set(JAVA_INT, 48, (int) blocks());
    target.set(JAVA_INT, 52, outType);
    target.set(JAVA_INT, 56, biasType);
    target.set(JAVA_INT, 60, stepA);
    target.set(JAVA_INT, 64, stepB);
    target.set(JAVA_INT, 68, blockStepA);
    target.set(JAVA_INT, 72, blockStepB);
    target.set(JAVA_INT, 76, raster);
    target.set(JAVA_INT, 80, aligned() ? 1 : 0);
    target.set(JAVA_INT, 84, settled ? 1 : 0);
  }
}
