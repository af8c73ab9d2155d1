package fqt.tensor.cpu;

import fqt.tensor.Backend;

/**
 * Offers the CPU backend, in one of two tiers that the system property {@code fqt.cpu} names:
 * {@code vector}, the default, which needs the module {@code jdk.incubator.vector}, or {@code
 * scalar}, which is for tests and for comparison.
 */
public final class CpuProvider implements Backend.Provider {
  private static final long IDLE_LIMIT = 512L << 20;

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
    String tier = System.getProperty("fqt.cpu", "vector");
    return switch (tier) {
      case "scalar" -> new ScalarBackend(memory);
      case "vector" -> {
        requireVectorApi();
        yield new CpuBackend(memory, Threads.configured());
      }
      default ->
          throw new IllegalStateException(
              "fqt.cpu is '" + tier + "'; expected 'vector' or 'scalar'");
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
