package fqt.tensor.cpu;

import static java.lang.System.Logger.Level.WARNING;

import fqt.tensor.cpu.asm.CpuFeatures;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.TileKernel;
import java.util.function.Supplier;
import jdk.incubator.vector.FloatVector;

/**
 * Which kernels multiply matrices, decided once. Machine code has the width of the vectors that the
 * JVM prefers, so {@code -XX:UseAVX=2} chooses its AVX2 kernels on a machine that has AVX-512.
 *
 * @param floats the kernel of F32 products, or null for the Vector API
 * @param bytes the kernel of I8 products, or null where F32 ones stand in for it
 * @param dots the kernels of products of a few rows, or null for the Vector API
 * @param description a line for {@code fqt doctor}
 */
record KernelChoice(TileKernel floats, TileKernel bytes, DotKernels dots, String description) {
  private static final System.Logger LOG = System.getLogger("fqt.tensor");

  /** Makes the packed blocks of F32 products. */
  Supplier<Panels> panels() {
    return floats == null ? VectorPanels::new : () -> new MachinePanels(floats);
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

  /**
   * Machine code.
   *
   * @throws ExecutableMemory.Refused if it does not run here, saying why
   */
  static KernelChoice machine() throws ExecutableMemory.Refused {
    CpuFeatures features = CpuFeatures.detect();
    int bits = FloatVector.SPECIES_PREFERRED.vectorBitSize();
    boolean has = bits == 512 ? features.avx512() : bits == 256 && features.avx2();
    if (!has) {
      throw new ExecutableMemory.Refused(
          "there is no machine code for vectors of " + bits + " bits on this processor", null);
    }
    TileKernel kernel = new TileKernel(TileKernel.Kind.F32, bits, Gemm.A_STRIDE);
    TileKernel bytes = new TileKernel(bytes(features, bits), bits, Gemm.A_STRIDE);
    return new KernelChoice(
        kernel,
        bytes,
        new DotKernels(features, bits),
        "matrix kernels: machine code, %s, tiles of %d x %d, int8 by %s (processor: %s)"
            .formatted(
                bits == 512 ? "AVX-512" : "AVX2",
                kernel.rows(),
                kernel.columns(),
                bytes.kind() == TileKernel.Kind.PAIRS ? "vpmaddwd" : "vpdpbusd",
                features.names()));
  }

  private static TileKernel.Kind bytes(CpuFeatures features, int bits) {
    if (bits == 512 && features.avx512Vnni()) {
      return TileKernel.Kind.QUADS;
    }
    return bits == 256 && features.avxVnni() ? TileKernel.Kind.VEX_QUADS : TileKernel.Kind.PAIRS;
  }

  /** The Vector API. */
  static KernelChoice vector(String why) {
    return new KernelChoice(
        null,
        null,
        null,
        "matrix kernels: Vector API, %d bits%s"
            .formatted(FloatVector.SPECIES_PREFERRED.vectorBitSize(), why));
  }
}
