package fqt.tensor.cpu;

import fqt.tensor.Backend;
import fqt.tensor.cpu.asm.ExecutableMemory;
import java.util.Locale;

/**
 * Offers the CPU backend. By default its kernels are machine code where that runs, and use the
 * Vector API elsewhere, which needs the module {@code jdk.incubator.vector}. The system property
 * {@code fqt.cpu} forces a tier: {@code machine} insists on machine code, {@code amx}, {@code
 * avx512} and {@code avx2} on one kind of it (the last with {@code -XX:UseAVX=2}), {@code vector}
 * does without, and {@code scalar}, for tests and for comparison, does without the Vector API too.
 */
public final class CpuProvider implements Backend.Provider {
  private static final long IDLE_LIMIT = 512L << 20;

  /** For {@code ServiceLoader}. */
  public CpuProvider() {}

  @Override
  public String kind() {
    return "cpu";
  }

  @Override
  public Backend open(int index) {
    if (index != 0) {
      throw new IllegalStateException("there is no device cpu:" + index + "; expected cpu");
    }
    HostMemory memory = new HostMemory(IDLE_LIMIT);
    String tier = System.getProperty("fqt.cpu", "best");
    if (tier.equals("scalar")) {
      return new ScalarBackend(memory);
    }
    requireVectorApi();
    return new CpuBackend(memory, Threads.configured(), kernels(tier));
  }

  private static KernelChoice kernels(String tier) {
    return switch (tier) {
      case "best" -> KernelChoice.best();
      case "vector" -> KernelChoice.vector(", chosen by -Dfqt.cpu=vector");
      case "machine", "avx2", "avx512", "amx" -> {
        try {
          yield tier.equals("machine")
              ? KernelChoice.machineCode()
              : KernelChoice.machineCode(
                  MachineKernels.Tier.valueOf(tier.toUpperCase(Locale.ROOT)));
        } catch (ExecutableMemory.Refused refused) {
          throw new IllegalStateException(
              "fqt.cpu is '" + tier + "', but " + refused.getMessage(), refused);
        }
      }
      default ->
          throw new IllegalStateException(
              "fqt.cpu is '"
                  + tier
                  + "'; expected 'best', 'machine', 'amx', 'avx512', 'avx2',"
                  + " 'vector' or 'scalar'");
    };
  }

  /** The module path resolves the module by itself; the class path has to be told. */
  private static void requireVectorApi() {
    try {
      Class.forName("jdk.incubator.vector.FloatVector", false, CpuProvider.class.getClassLoader());
    } catch (ClassNotFoundException absent) {
      throw new IllegalStateException(
          "the CPU kernels need the Vector API: add --add-modules jdk.incubator.vector to the java"
              + " command line",
          absent);
    }
  }
}
