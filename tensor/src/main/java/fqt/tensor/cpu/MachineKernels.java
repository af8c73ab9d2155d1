package fqt.tensor.cpu;

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
 * The kernels of machine code of one tier.
 *
 * @param floats the kernel of F32 products
 * @param steady the same for many rows: it asks for the next strip of b row by row, tile by tile
 * @param ahead the same, which asks for the next strip of b while it multiplies
 * @param wellAhead the same for a few rows, asking for more at a time
 * @param bytes the kernel of I8 products
 * @param wideBytes the same for two strips at a time, or null where there is none
 * @param pairs the kernel of BF16 products, or null where they become F32 on their way
 * @param spread packs left sides of I8 products in pairs
 * @param turn packs right-hand sides
 * @param scale finishes sums of integers
 * @param dots the kernels of products of a few rows
 * @param rows the kernels of what is no product
 */
record MachineKernels(
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
    RowKernels rows) {
  /** What the processor has to have. */
  enum Tier {
    /** 256-bit vectors. */
    AVX2,
    /** 512-bit vectors, with byte and bf16 dot products where the processor has them. */
    AVX512,
    /** Tiles for int8 and bf16, 512-bit vectors for the rest. */
    AMX
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

  /**
   * Assembles those of a tier.
   *
   * @throws ExecutableMemory.Refused if it does not run here, saying why
   */
  static MachineKernels of(Tier tier, CpuFeatures features) throws ExecutableMemory.Refused {
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
    return new MachineKernels(
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
        new RowKernels(bits));
  }

  /** A line for {@code fqt doctor}. */
  String description(Tier tier, CpuFeatures features) {
    return "machine code, %s, tiles of %d x %d, int8 by %s, bf16 by %s (processor: %s)"
        .formatted(
            switch (tier) {
              case AVX2 -> "AVX2";
              case AVX512 -> "AVX-512";
              case AMX -> "AMX and AVX-512";
            },
            floats.rows(),
            floats.columns(),
            instruction(bytes.kind()),
            instruction(pairs == null ? TileKernel.Kind.F32 : pairs.kind()),
            features.names());
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
}
