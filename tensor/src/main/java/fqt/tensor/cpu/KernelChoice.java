package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.CpuFeatures;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.F32Kernel;
import java.util.function.Supplier;
import jdk.incubator.vector.FloatVector;

/**
 * Which kernels multiply matrices, decided once. Machine code has the width of the vectors that the
 * JVM prefers, so {@code -XX:UseAVX=2} chooses its AVX2 kernels on a machine that has AVX-512.
 *
 * @param panels makes the packed blocks of a product
 * @param description a line for {@code fqt doctor}
 */
record KernelChoice(Supplier<Panels> panels, String description) {
  /** Machine code where it runs, otherwise the Vector API. */
  static KernelChoice best() {
    try {
      return machine();
    } catch (ExecutableMemory.Refused refused) {
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
    F32Kernel kernel = new F32Kernel(bits, Gemm.A_STRIDE);
    return new KernelChoice(
        () -> new MachinePanels(kernel),
        "matrix kernels: machine code, %s, tiles of %d x %d"
            .formatted(bits == 512 ? "AVX-512" : "AVX2", kernel.rows(), kernel.columns()));
  }

  /** The Vector API. */
  static KernelChoice vector(String why) {
    return new KernelChoice(
        VectorPanels::new,
        "matrix kernels: Vector API, %d bits%s"
            .formatted(FloatVector.SPECIES_PREFERRED.vectorBitSize(), why));
  }
}
