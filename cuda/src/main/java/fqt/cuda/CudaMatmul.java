package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * Matrix multiply of 8-bit and bfloat16 operands on one GPU:
 *
 * <pre>{@code out[m][n] = (sum_k a[m][k] * b[n][k]) * scaleB[n] * scaleA[m] + bias[n]}</pre>
 *
 * in that order, each step rounded to float32, the last two as one fused operation. A is [M, K]:
 * activations, a token a row; B is [N, K]: weights, an output a row. Rows may be further apart than
 * they are long; where they do not start at multiples of 16 bytes, an operand is copied first. The
 * same arguments on the same GPU give the same bits.
 */
public final class CudaMatmul {
  private static final long ALIGNMENT = 16;
  private static final int MMA_TILE = 128;
  private static final int MMA_SHARED_BYTES = 65_536;

  private static final int MAX_PLANS = 4096;

  /** What a plan depends on. */
  private record Problem(DType operand, GemmPlan.Sum sum, long m, long n, long blocks) {}

  private final CudaContext context;
  private final GemmFamily family;
  private final Map<Problem, GemmPlan> plans = new HashMap<>();

  /**
   * Matrix multiply with the best kernels for a GPU.
   *
   * @param context the GPU that multiplies
   * @throws IllegalStateException if the GPU is too old for any
   */
  public CudaMatmul(CudaContext context) {
    this(context, GemmFamily.of(context.capability()));
  }

  CudaMatmul(CudaContext context, GemmFamily family) {
    this.context = context;
    this.family = family;
  }

  /**
   * Multiplies with scales per row or per tensor.
   *
   * @param stream where the kernel is put
   * @param a I8, F8_E4M3 or BF16 [M, K]
   * @param b of the same type [N, K]
   * @param scaleA F32 of M or 1 elements, or null for 1
   * @param scaleB F32 of N or 1 elements, or null for 1
   * @param bias BF16, F16 or F32 of N elements, or null
   * @param out BF16, F16 or F32 [M, N]; or I32 for int8 without scales and bias
   * @param options how sums are made, and what is known of B
   * @throws IllegalArgumentException if types, shapes or devices do not fit
   * @throws CudaException if the driver refuses
   */
  public void scaled(
      CudaStream stream,
      Tensor a,
      Tensor b,
      Tensor scaleA,
      Tensor scaleB,
      Tensor bias,
      Tensor out,
      MatmulOptions options) {
    scaled(stream, a, b, scaleA, scaleB, bias, out, options, null);
  }

  /** The same by a given plan, for checks and measurements; null for the best one. */
  void scaled(
      CudaStream stream,
      Tensor a,
      Tensor b,
      Tensor scaleA,
      Tensor scaleB,
      Tensor bias,
      Tensor out,
      MatmulOptions options,
      GemmPlan plan) {
    MatmulArguments arguments =
        MatmulArguments.of(context.device(), a, b, scaleA, scaleB, false, bias, out);
    boolean precise = a.dtype() == DType.F8_E4M3 && options.accumulation() == Accumulation.PRECISE;
    run(stream, arguments, precise ? GemmPlan.Sum.PRECISE : GemmPlan.Sum.FAST, options, plan);
  }

  /**
   * Multiplies e4m3 with a scale for every 128 elements of a row of A and every 128 x 128 of B, as
   * DeepSeek-V3's checkpoints have them (technical report, section 3.3.2). Sums are precise.
   *
   * @param stream where the kernel is put
   * @param a F8_E4M3 [M, K]
   * @param b F8_E4M3 [N, K]
   * @param scaleA F32 [M, ceil(K / 128)], any strides
   * @param scaleB F32 [ceil(N / 128), ceil(K / 128)], any strides
   * @param bias BF16, F16 or F32 of N elements, or null
   * @param out BF16, F16 or F32 [M, N]
   * @param options what is known of B; sums are precise whatever it says
   * @throws IllegalArgumentException if types, shapes or devices do not fit
   * @throws IllegalStateException if the GPU has no kernel for it
   */
  public void blockwise(
      CudaStream stream,
      Tensor a,
      Tensor b,
      Tensor scaleA,
      Tensor scaleB,
      Tensor bias,
      Tensor out,
      MatmulOptions options) {
    blockwise(stream, a, b, scaleA, scaleB, bias, out, options, null);
  }

  /** The same by a given plan, for checks and measurements; null for the best one. */
  void blockwise(
      CudaStream stream,
      Tensor a,
      Tensor b,
      Tensor scaleA,
      Tensor scaleB,
      Tensor bias,
      Tensor out,
      MatmulOptions options,
      GemmPlan plan) {
    Checks.require(a.dtype() == DType.F8_E4M3, "A is %s; blockwise scales are for F8_E4M3", a);
    if (family != GemmFamily.HOPPER) {
      throw new IllegalStateException(
          "blockwise scales need compute capability 9.0; %s has %d.%d"
              .formatted(context.device(), context.capability() / 10, context.capability() % 10));
    }
    run(
        stream,
        MatmulArguments.of(context.device(), a, b, scaleA, scaleB, true, bias, out),
        GemmPlan.Sum.BLOCKWISE,
        options,
        plan);
  }

  private void run(
      CudaStream stream,
      MatmulArguments arguments,
      GemmPlan.Sum sum,
      MatmulOptions options,
      GemmPlan plan) {
    if (!family.multiplies(arguments.operand())) {
      throw new IllegalArgumentException(
          "%s cannot multiply %s; its kernels are %s"
              .formatted(
                  context.device(),
                  arguments.operand(),
                  GemmFamily.describe(context.capability())));
    }
    if (arguments.m() == 0 || arguments.n() == 0) {
      return;
    }
    synchronized (context) {
      context.bind();
      boolean copyA = (arguments.a() | arguments.strideA()) % ALIGNMENT != 0;
      boolean copyB = (arguments.b() | arguments.strideB()) % ALIGNMENT != 0;
      if (copyA || copyB) {
        runAligned(stream, arguments, sum, plan, copyA, copyB);
      } else {
        launch(stream, arguments, sum, plan, options.settledWeights());
      }
    }
  }

  /** Copies the operands whose rows the copy engine cannot address into rows that it can. */
  private void runAligned(
      CudaStream stream,
      MatmulArguments arguments,
      GemmPlan.Sum sum,
      GemmPlan plan,
      boolean copyA,
      boolean copyB) {
    long stride = Math.ceilDiv(arguments.bytesK(), ALIGNMENT) * ALIGNMENT;
    long bytesA = copyA ? arguments.m() * stride : 0;
    long bytesB = copyB ? arguments.n() * stride : 0;
    Handles.DevicePointer scratch = new Handles.DevicePointer();
    context.check(
        JCudaDriver.cuMemAllocAsync(scratch, bytesA + bytesB, stream.handle()),
        "allocating " + (bytesA + bytesB) + " bytes for operands with odd rows");
    try {
      long a = arguments.a();
      long b = arguments.b();
      if (copyA) {
        copyRows(
            stream,
            a,
            scratch.address(),
            arguments.strideA(),
            stride,
            arguments.m(),
            arguments.bytesK());
        a = scratch.address();
      }
      if (copyB) {
        long target = scratch.address() + bytesA;
        copyRows(stream, b, target, arguments.strideB(), stride, arguments.n(), arguments.bytesK());
        b = target;
      }
      MatmulArguments aligned =
          arguments.withOperands(
              a, copyA ? stride : arguments.strideA(), b, copyB ? stride : arguments.strideB());
      launch(stream, aligned, sum, plan, false);
    } finally {
      context.check(
          JCudaDriver.cuMemFreeAsync(scratch, stream.handle()), "freeing copied operands");
    }
  }

  private void copyRows(
      CudaStream stream,
      long source,
      long target,
      long sourceStride,
      long targetStride,
      long rows,
      long bytes) {
    LaunchBlock block = context.block();
    MemorySegment values = block.arguments();
    long[] arguments = {source, target, sourceStride, targetStride, bytes};
    for (int i = 0; i < arguments.length; i++) {
      values.setAtIndex(JAVA_LONG, i, arguments[i]);
      block.argument(i, values.address() + i * (long) Long.BYTES);
    }
    block.shape((int) rows, 1, 256, 0, 1);
    long function = context.kernels().find(CudaQuantize.module(context), "copy_rows", 0);
    context.check(
        block.launch(stream.handle().address(), function, false, false),
        "launching copy_rows for " + rows + " rows");
  }

  private void launch(
      CudaStream stream,
      MatmulArguments arguments,
      GemmPlan.Sum sum,
      GemmPlan plan,
      boolean settledWeights) {
    if (family != GemmFamily.HOPPER) {
      launchMma(stream, arguments);
      return;
    }
    GemmPlan chosen = plan == null ? plan(arguments, sum) : plan;
    launchHopper(stream, arguments, chosen, settledWeights);
  }

  /** The plan for a shape, remembered; the context is locked. */
  private GemmPlan plan(MatmulArguments arguments, GemmPlan.Sum sum) {
    Problem problem =
        new Problem(arguments.operand(), sum, arguments.m(), arguments.n(), arguments.blocks());
    GemmPlan plan = plans.get(problem);
    if (plan == null) {
      plan =
          GemmPlan.of(
              problem.operand, sum, problem.m, problem.n, problem.blocks, context.processors());
      if (plans.size() == MAX_PLANS) {
        plans.clear();
      }
      plans.put(problem, plan);
    }
    return plan;
  }

  /** One launch of a Hopper kernel; the context is locked and current. */
  private void launchHopper(
      CudaStream stream, MatmulArguments arguments, GemmPlan plan, boolean settledWeights) {
    LaunchBlock block = context.block();
    TensorMaps maps = context.maps();
    long bytesK = arguments.bytesK();
    long mapA = maps.find(arguments.a(), arguments.m(), bytesK, arguments.strideA(), plan.boxA());
    block.argument(0, mapA);
    block.argument(
        1, maps.find(arguments.b(), arguments.n(), bytesK, arguments.strideB(), plan.boxB()));
    boolean large = plan.kind() == GemmPlan.Kind.LARGE;
    if (large) {
      // A result that the copy engine cannot write needs none, but the kernel takes one.
      block.argument(2, arguments.copiesOut() ? mapOut(maps, arguments) : mapA);
    }
    block.argument(large ? 3 : 2, block.arguments().address());
    arguments.write(block.arguments(), plan.raster(), settledWeights);
    block.shape(plan.gridX(), plan.gridY(), plan.threads(), plan.sharedBytes(), plan.cluster());
    long function = context.kernels().find(plan.module(), plan.kernel(), plan.sharedBytes());
    boolean streams = plan.kind() == GemmPlan.Kind.STREAM;
    if (streams || large) {
      long flags = streams || plan.shares().any() ? stream.workspace() : 0;
      MemorySegment values = block.arguments();
      values.set(JAVA_LONG, MatmulArguments.BYTES, flags);
      values.set(
          JAVA_LONG,
          MatmulArguments.BYTES + Long.BYTES,
          flags + (long) context.processors() * GemmPlan.FLAG_BYTES);
      values.set(JAVA_INT, MatmulArguments.BYTES + 16, plan.shares().tiles());
      values.set(JAVA_INT, MatmulArguments.BYTES + 20, plan.shares().groups());
      values.set(JAVA_INT, MatmulArguments.BYTES + 24, plan.shares().members());
      block.argument(large ? 4 : 3, values.address() + MatmulArguments.BYTES);
    }
    // The large kernels touch nothing else before the preceding kernel has ended.
    boolean overlap = settledWeights || large;
    int code = block.launch(stream.handle().address(), function, !streams, overlap);
    if (code != CUresult.CUDA_SUCCESS) {
      context.check(
          code,
          "launching %s for %d x %d x %d"
              .formatted(plan.kernel(), arguments.m(), arguments.n(), arguments.k()));
    }
  }

  private static long mapOut(TensorMaps maps, MatmulArguments arguments) {
    return maps.find(
        arguments.out(),
        arguments.m(),
        arguments.n() * arguments.outBytes(),
        arguments.ldOut() * arguments.outBytes(),
        GemmPlan.OUT_ROWS);
  }

  private void launchMma(CudaStream stream, MatmulArguments arguments) {
    boolean float8 = arguments.operand() == DType.F8_E4M3;
    String kernel = "gemm_mma_" + GemmPlan.format(arguments.operand());
    LaunchBlock block = context.block();
    MemorySegment values = block.arguments();
    arguments.write(values, 0, false);
    long[] operands = {
      arguments.a(), arguments.b(), arguments.strideA(), arguments.strideB(), arguments.bytesK()
    };
    for (int i = 0; i < operands.length; i++) {
      values.set(JAVA_LONG, MatmulArguments.BYTES + i * (long) Long.BYTES, operands[i]);
    }
    block.argument(0, values.address() + MatmulArguments.BYTES);
    block.argument(1, values.address());
    block.shape(
        (int) Math.ceilDiv(arguments.n(), MMA_TILE),
        (int) Math.ceilDiv(arguments.m(), MMA_TILE),
        256,
        MMA_SHARED_BYTES,
        1);
    long function =
        context.kernels().find(float8 ? "gemm_sm89" : "gemm_sm80", kernel, MMA_SHARED_BYTES);
    context.check(
        block.launch(stream.handle().address(), function, false, false),
        "launching %s for %d x %d x %d"
            .formatted(kernel, arguments.m(), arguments.n(), arguments.k()));
  }
}
