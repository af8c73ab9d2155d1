package fqt.cuda;

import fqt.tensor.DType;
import java.util.List;
import java.util.Random;

/**
 * Checks the GPU of this machine with fresh inputs each time: the matrix and quantize kernels
 * against float64 on the host, the operations of the backend against those of the CPU: {@code java
 * -p modules -m fqt.cuda/fqt.cuda.GpuCheck [tiny|quick] [kernels|backend] [broken] [SEED] [only
 * PART_OF_A_TITLE...]}. {@code tiny} is for tools like racecheck, which slow memory a thousandfold;
 * {@code only} runs those checks whose titles contain one of the words, such as {@code
 * gemm_small_s8}. With {@code broken} a kernel breaks the GPU's context at the end, to see what is
 * said of it. Without a GPU it says so and succeeds.
 */
public final class GpuCheck {
  private static final int[] TAILS = {
    1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 191, 193, 255, 257, 300
  };
  private static final int[][] LAYERS = {
    {1, 4608, 3584},
    {17, 3584, 3584},
    {33, 3584, 18944},
    {65, 4608, 3584},
    {129, 1152, 896},
    {256, 3584, 3584},
    {1000, 1280, 3420},
    {1024, 3584, 3584},
    {2048, 896, 4864}
  };

  // Allowed error of a sum, as a share of the sum of magnitudes. Hopper adds e4m3 products with
  // about 14 bits; bfloat16 and integer sums are as good as float32's.
  private static final double E4M3_FAST_BOUND = 0x1p-10;
  private static final double E4M3_PRECISE_BOUND = 0x1p-11;
  private static final double BF16_BOUND = 0x1p-16;

  private final CudaContext context;
  private final Random random;
  private final CheckChoice choice;
  private int checks;
  private int failures;

  GpuCheck(CudaContext context, long seed, CheckChoice choice) {
    this.context = context;
    this.random = new Random(seed);
    this.choice = choice;
  }

  /**
   * Runs all checks; exits with 1 if one fails, with 2 if a word is unknown.
   *
   * @param arguments which checks, as in the description of this class; all may be left out
   */
  public static void main(String[] arguments) {
    CheckChoice choice = null;
    try {
      choice = CheckChoice.of(List.of(arguments));
    } catch (IllegalArgumentException unknown) {
      System.err.println("gpu-check: " + unknown.getMessage());
      System.exit(2);
    }
    if (CudaDevices.count() == 0) {
      System.out.println("skipped, " + CudaDevices.describe().getFirst());
      return;
    }
    long seed = choice.seed().orElseGet(System::nanoTime);
    System.out.println(CudaDevices.describe().getFirst() + "; seed " + seed);
    boolean failed;
    try (CudaContext context = CudaContext.open(0)) {
      GpuCheck check = new GpuCheck(context, seed, choice);
      if (choice.kernels()) {
        check.kernels();
      }
      if (choice.backend()) {
        check.backend();
      }
      if (choice.kernels() && choice.backend()) {
        new FailureCheck(context, check::report).refused();
      }
      failed = check.summarize() > 0;
      if (context.liveBytes() != 0) {
        System.out.println("leaked " + context.liveBytes() + " bytes");
        failed = true;
      }
    }
    if (choice.broken()) {
      failed |= brokenContext(seed) > 0;
    }
    if (failed) {
      System.exit(1);
    }
  }

  /** The last check of a process: what a GPU says that an illegal access has broken. */
  private static int brokenContext(long seed) {
    try (CudaContext context = CudaContext.open(0)) {
      GpuCheck check = new GpuCheck(context, seed, CheckChoice.whole());
      new FailureCheck(context, check::report).broken();
      return check.summarize();
    }
  }

  /** Runs all checks; the number of failures. */
  int run() {
    kernels();
    backend();
    return summarize();
  }

  /** Checks the matrix and quantize kernels. */
  private void kernels() {
    boolean hopper = GemmFamily.of(context.capability()) == GemmFamily.HOPPER;
    for (DType operand : List.of(DType.I8, DType.F8_E4M3, DType.BF16)) {
      tails(operand);
      if (hopper) {
        everyPlan(operand);
      }
      portable(operand);
      if (choice.extent() == CheckChoice.Extent.WHOLE) {
        layers(operand);
      }
    }
    if (hopper) {
      blockwise();
    }
    new QuantizeCheck(context, random, choice, this::report).run();
  }

  /** Checks the operations of the backend. */
  private void backend() {
    new BackendCheck(random, this::report).run(choice);
  }

  private int summarize() {
    System.out.println(checks + " checks, " + failures + " failures");
    if (checks == 0) {
      System.out.println("no title contains any of " + choice.only());
      return 1;
    }
    return failures;
  }

  private int tail() {
    return TAILS[random.nextInt(TAILS.length)];
  }

  private void tails(DType operand) {
    for (int i = 0; i < choice.extent().of(6, 6, 120); i++) {
      matmul(operand, tail(), tail(), tail(), null, null);
    }
  }

  private void layers(DType operand) {
    for (int[] shape : LAYERS) {
      matmul(operand, shape[0], shape[1], shape[2], null, null);
    }
  }

  private void everyPlan(DType operand) {
    for (GemmPlan.Sum sum : GemmPlan.Sum.values()) {
      boolean applies =
          sum == GemmPlan.Sum.FAST
              || sum == GemmPlan.Sum.TOGETHER
              || sum == GemmPlan.Sum.PRECISE && operand == DType.F8_E4M3;
      for (int i = 0; applies && i < choice.extent().of(2, 2, 6); i++) {
        int m =
            i == 0 ? choice.extent().of(150, 300, 300) : i == 1 ? 1 + random.nextInt(8) : tail();
        int n = i == 0 ? choice.extent().of(390, 519, 519) : tail();
        int k = i == 0 ? choice.extent().of(700, 1040, 1040) : tail();
        long blocks = Math.ceilDiv(k * operand.byteSize(), GemmPlan.STEP_BYTES);
        for (GemmPlan plan : GemmPlanSet.of(operand, sum, m, n, blocks, context.processors())) {
          matmul(operand, m, n, k, plan, null);
        }
      }
    }
  }

  /** The kernels for other GPUs, which Hopper can run too. */
  private void portable(DType operand) {
    GemmFamily family = operand == DType.F8_E4M3 ? GemmFamily.ADA : GemmFamily.AMPERE;
    if (!family.multiplies(operand) || context.capability() < 89) {
      return;
    }
    for (int i = 0; i < choice.extent().of(2, 2, 30); i++) {
      matmul(operand, tail(), tail(), tail(), null, family);
    }
    matmul(operand, 300, 519, choice.extent().of(300, 1040, 1040), null, family);
  }

  private void blockwise() {
    for (int i = 0; i < choice.extent().of(1, 3, 40); i++) {
      int m = i == 0 ? choice.extent().of(300, 1000, 1000) : tail();
      int n = i == 0 ? choice.extent().of(519, 1024, 1024) : tail();
      int k = i == 0 ? choice.extent().of(700, 2048, 2048) : tail();
      try (GpuCase test = new GpuCase(context, random.nextLong(), DType.F8_E4M3, m, n, k, true)) {
        blockwise(test, "blockwise %d x %d x %d".formatted(m, n, k), null);
        long blocks = Math.ceilDiv(k, GemmPlan.STEP_BYTES);
        for (GemmPlan plan :
            GemmPlanSet.of(
                DType.F8_E4M3, GemmPlan.Sum.BLOCKWISE, m, n, blocks, context.processors())) {
          String how = " %s/%d/%s".formatted(plan.kernel(), plan.cluster(), plan.shares());
          blockwise(test, "blockwise %d x %d x %d".formatted(m, n, k) + how, plan);
        }
      }
    }
  }

  private void blockwise(GpuCase test, String title, GemmPlan plan) {
    if (!choice.wants(title)) {
      return;
    }
    CudaMatmul matmul = new CudaMatmul(context);
    double error =
        test.error(
            DType.BF16,
            E4M3_PRECISE_BOUND,
            32,
            out ->
                matmul.blockwise(
                    context.stream(),
                    test.a,
                    test.b,
                    test.scaleA,
                    test.scaleB,
                    test.bias,
                    out,
                    MatmulOptions.FAST,
                    plan));
    report(title, error);
  }

  private void matmul(DType operand, int m, int n, int k, GemmPlan plan, GemmFamily family) {
    List<DType> outTypes = List.of(DType.BF16, DType.F16, DType.F32);
    if (!choice.wants(title(operand, "", m, n, k, plan, family))) {
      return;
    }
    try (GpuCase test = new GpuCase(context, random.nextLong(), operand, m, n, k, false)) {
      CudaMatmul matmul =
          family == null ? new CudaMatmul(context) : new CudaMatmul(context, family);
      if (operand == DType.I8) {
        double error =
            test.error(
                DType.I32,
                0,
                64,
                out -> multiply(matmul, test, plan, out, false, MatmulOptions.FAST));
        report(title(operand, "I32", m, n, k, plan, family), error);
      }
      DType outType = outTypes.get(random.nextInt(outTypes.size()));
      boolean precise = plan != null ? plan.kernel().contains("precise") : random.nextBoolean();
      MatmulOptions moving = precise ? MatmulOptions.PRECISE : MatmulOptions.FAST;
      MatmulOptions options = random.nextBoolean() ? moving.withSettledWeights() : moving;
      double bound =
          switch (operand) {
            case I8 -> 0;
            case F8_E4M3 -> precise && family == null ? E4M3_PRECISE_BOUND : E4M3_FAST_BOUND;
            default -> BF16_BOUND;
          };
      double error =
          test.error(outType, bound, 64, out -> multiply(matmul, test, plan, out, true, options));
      report(title(operand, outType + (precise ? " precise" : ""), m, n, k, plan, family), error);
    }
  }

  private void multiply(
      CudaMatmul matmul,
      GpuCase test,
      GemmPlan plan,
      fqt.tensor.Tensor out,
      boolean scaled,
      MatmulOptions options) {
    matmul.scaled(
        context.stream(),
        test.a,
        test.b,
        scaled ? test.scaleA.reshape(-1) : null,
        scaled ? test.scaleB.reshape(-1) : null,
        scaled ? test.bias : null,
        out,
        options,
        plan);
  }

  private static String title(
      DType operand, String out, int m, int n, int k, GemmPlan plan, GemmFamily family) {
    String how =
        plan == null ? "" : " %s/%d/%s".formatted(plan.kernel(), plan.cluster(), plan.shares());
    return "%s -> %s, %d x %d x %d%s%s"
        .formatted(operand, out, m, n, k, how, family == null ? "" : " " + family);
  }

  private void report(String title, double error) {
    checks++;
    if (!(error <= 1)) {
      failures++;
      System.out.println("FAILED " + title + ": error " + error + " of what is allowed");
    } else if (choice.extent() == CheckChoice.Extent.TINY) {
      System.out.println("right " + title);
    }
  }
}
