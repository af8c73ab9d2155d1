package fqt.tensor.cpu;

import static java.lang.System.Logger.Level.WARNING;

import fqt.tensor.cpu.MachineKernels.Tier;
import fqt.tensor.cpu.asm.CpuFeatures;
import fqt.tensor.cpu.asm.ExecutableMemory;
import java.util.function.Supplier;
import jdk.incubator.vector.FloatVector;

/**
 * Which kernels compute, decided once: machine code, or the Vector API. Machine code has the width
 * of the vectors that the JVM prefers, so {@code -XX:UseAVX=2} chooses its AVX2 kernels on a
 * machine that has AVX-512.
 *
 * @param machine the kernels of machine code, or null for the Vector API
 * @param description a line for {@code fqt doctor}
 */
record KernelChoice(MachineKernels machine, String description) {
  private static final System.Logger LOG = System.getLogger("fqt.tensor");

  /** The kernels of what is no product, or null for the Vector API. */
  RowKernels rows() {
    return machine == null ? null : machine.rows();
  }

  /** Makes the packed blocks of F32 products. */
  Supplier<Panels> panels() {
    return machine == null ? VectorPanels::new : machine.panels(machine.floats());
  }

  /** Machine code where it runs, otherwise the Vector API. */
  static KernelChoice best() {
    try {
      return machineCode();
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
   * The best machine code.
   *
   * @throws ExecutableMemory.Refused if none runs here, saying why
   */
  static KernelChoice machineCode() throws ExecutableMemory.Refused {
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
  static KernelChoice machineCode(Tier tier) throws ExecutableMemory.Refused {
    return of(tier, CpuFeatures.detect());
  }

  private static KernelChoice of(Tier tier, CpuFeatures features) throws ExecutableMemory.Refused {
    MachineKernels machine = MachineKernels.of(tier, features);
    return new KernelChoice(machine, machine.description(tier, features));
  }

  /** The Vector API. */
  static KernelChoice vector(String why) {
    return new KernelChoice(null, "Vector API" + why);
  }
}
