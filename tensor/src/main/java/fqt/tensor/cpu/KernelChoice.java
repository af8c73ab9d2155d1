package fqt.tensor.cpu;

import static java.lang.System.Logger.Level.WARNING;

import fqt.tensor.cpu.asm.CpuFeatures;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.ScaleKernel;
import fqt.tensor.cpu.asm.SpreadKernel;
import fqt.tensor.cpu.asm.TileKernel;
import fqt.tensor.cpu.asm.TurnKernel;
import fqt.tensor.cpu.asm.WidePairsKernel;
import java.util.function.Supplier;
import jdk.incubator.vector.FloatVector;

/**
 * Which kernels multiply matrices, decided once. Machine code has the width of the vectors that the
 * JVM prefers, so {@code -XX:UseAVX=2} chooses its AVX2 kernels on a machine that has AVX-512.
 *
 * @param floats the kernel of F32 products, or null for the Vector API
 * @param steady the same for many rows: it asks for the next strip of b row by row, tile by tile
 * @param ahead the same, which asks for the next strip of b while it multiplies
 * @param wellAhead the same for a few rows, asking for more at a time
 * @param bytes the kernel of I8 products, or null where F32 ones stand in for it
 * @param wideBytes the same for two strips at a time, or null where there is none
 * @param pairs the kernel of BF16 products, or null where they become F32 on their way
 * @param spread packs left sides of I8 products in pairs, or null for the Vector API
 * @param turn packs right-hand sides, or null for the Vector API
 * @param scale finishes sums of integers, or null for the Vector API
 * @param dots the kernels of products of a few rows, or null for the Vector API
 * @param rows the kernels of what is no product, or null for the Vector API
 * @param description a line for {@code fqt doctor}
 */
record KernelChoice(
    TileKernel floats,
    TileKernel steady,
    TileKernel ahead,
    TileKernel wellAhead,
    TileKernel bytes,
    WidePairsKernel wideBytes,
    TileKernel pairs,
    SpreadKernel spread,
    TurnKernel turn,
    ScaleKernel scale,
    DotKernels dots,
    RowKernels rows,
    String description) {
  private static final System.Logger LOG = System.getLogger("fqt.tensor");

  /** Makes the packed blocks of F32 products. */
  Supplier<Panels> panels() {
    return floats == null ? VectorPanels::new : panels(floats);
  }

  /** Makes the packed blocks of products by a kernel of machine code. */
  Supplier<Panels> panels(TileKernel kernel) {
    return () ->
        new MachinePanels(
            kernel,
            kernel == floats ? steady : kernel,
            kernel == floats ? ahead : kernel,
            kernel == bytes ? wideBytes : null,
            turn,
            spread);
  }

  /** Machine code where it runs, otherwise the Vector API. */
  static KernelChoice best() {
    try {
      return machine();
    } catch (ExecutableMemory.Refused refused) {
      LOG.log(
          WARNING,
          () ->
              "matrix products run on the Vector API, about a third slower than machine code: "
                  + refused.getMessage());
      return vector(" (" + refused.getMessage() + ")");
    }
  }

  /** The tiers of machine code. */
  enum Tier {
    /** 256-bit vectors. */
    AVX2,
    /** 512-bit vectors, with byte and bf16 dot products where the processor has them. */
    AVX512,
    /** Tiles for int8 and bf16, 512-bit vectors for the rest. */
    AMX
  }

  /**
   * The best machine code.
   *
   * @throws ExecutableMemory.Refused if none runs here, saying why
   */
  static KernelChoice machine() throws ExecutableMemory.Refused {
    CpuFeatures features = CpuFeatures.detect();
    if (FloatVector.SPECIES_PREFERRED.vectorBitSize() < 512) {
      return of(Tier.AVX2, features);
    }
    return of(features.requestTiles() ? Tier.AMX : Tier.AVX512, features);
  }

  /**
   * The machine code of one tier.
   *
   * @throws ExecutableMemory.Refused if it does not run here, saying why
   */
  static KernelChoice machine(Tier tier) throws ExecutableMemory.Refused {
    return of(tier, CpuFeatures.detect());
  }

  private static KernelChoice of(Tier tier, CpuFeatures features) throws ExecutableMemory.Refused {
    int bits = FloatVector.SPECIES_PREFERRED.vectorBitSize();
    int wanted = tier == Tier.AVX2 ? 256 : 512;
    boolean has =
        switch (tier) {
          case AVX2 -> features.avx2();
          case AVX512 -> features.avx512();
          case AMX -> features.avx512() && features.requestTiles();
        };
    if (!has || bits != wanted) {
      throw new ExecutableMemory.Refused(
          "there is no machine code for %s with vectors of %d bits on this processor (%s)"
              .formatted(tier, bits, features.names()),
          null);
    }
    TileKernel floats = new TileKernel(TileKernel.Kind.F32, bits, Gemm.A_STRIDE);
    TileKernel bytes = new TileKernel(bytes(tier, features), bits, Gemm.A_STRIDE);
    TileKernel.Kind pairKind = pairs(tier, features);
    TileKernel pairs = pairKind == null ? null : new TileKernel(pairKind, bits, Gemm.A_STRIDE);
    boolean wide = bits == 256 && bytes.kind() == TileKernel.Kind.PAIRS;
    return new KernelChoice(
        floats,
        bits == 256 ? new TileKernel(TileKernel.Kind.F32, bits, Gemm.A_STRIDE, 1) : floats,
        new TileKernel(TileKernel.Kind.F32, bits, Gemm.A_STRIDE, TileKernel.AHEAD),
        new TileKernel(TileKernel.Kind.F32, bits, Gemm.A_STRIDE, 2 * TileKernel.AHEAD),
        bytes,
        wide ? new WidePairsKernel(Gemm.A_STRIDE) : null,
        pairs,
        new SpreadKernel(),
        new TurnKernel(floats.columns()),
        new ScaleKernel(bits),
        new DotKernels(features, bits, tier == Tier.AMX),
        new RowKernels(bits),
        "matrix kernels: machine code, %s, tiles of %d x %d, int8 by %s, bf16 by %s (processor: %s)"
            .formatted(
                tier == Tier.AVX2 ? "AVX2" : tier == Tier.AMX ? "AMX and AVX-512" : "AVX-512",
                floats.rows(),
                floats.columns(),
                instruction(bytes.kind()),
                instruction(pairKind == null ? TileKernel.Kind.F32 : pairKind),
                features.names()));
  }

  private static TileKernel.Kind bytes(Tier tier, CpuFeatures features) {
    return switch (tier) {
      case AMX -> TileKernel.Kind.AMX_QUADS;
      case AVX512 -> features.avx512Vnni() ? TileKernel.Kind.QUADS : TileKernel.Kind.PAIRS;
      case AVX2 -> features.avxVnni() ? TileKernel.Kind.VEX_QUADS : TileKernel.Kind.PAIRS;
    };
  }

  /**
   * How bf16 is multiplied. Processors with AMX run vdpbf16ps at half the speed of f32 (measured on
   * a Xeon: 108 and 212 GFLOP/s); there f32 serves when AMX itself is not wanted.
   */
  private static TileKernel.Kind pairs(Tier tier, CpuFeatures features) {
    return switch (tier) {
      case AMX -> TileKernel.Kind.AMX_PAIRS;
      case AVX512 -> features.avx512Bf16() && !features.amx() ? TileKernel.Kind.BF16_PAIRS : null;
      case AVX2 -> null;
    };
  }

  private static String instruction(TileKernel.Kind kind) {
    return switch (kind) {
      case F32 -> "vfmadd231ps";
      case PAIRS -> "vpmaddwd";
      case QUADS, VEX_QUADS -> "vpdpbusd";
      case BF16_PAIRS -> "vdpbf16ps";
      case AMX_QUADS -> "tdpbssd";
      case AMX_PAIRS -> "tdpbf16ps";
    };
  }

  /** The Vector API. */
  static KernelChoice vector(String why) {
    return new KernelChoice(
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        "matrix kernels: Vector API, %d bits%s"
            .formatted(FloatVector.SPECIES_PREFERRED.vectorBitSize(), why));
  }
}
