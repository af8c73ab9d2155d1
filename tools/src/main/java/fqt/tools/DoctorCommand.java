package fqt.tools;

import com.sun.management.OperatingSystemMXBean;
import fqt.cuda.CudaDevices;
import fqt.tensor.Backends;
import fqt.tensor.Device;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code fqt doctor}: what this machine offers and what was chosen from it. */
@Command(
    name = "doctor",
    description = "Shows JDK, memory, chosen kernels, threads, and the GPU or why there is none.")
final class DoctorCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    Runtime runtime = Runtime.getRuntime();
    section(out, "fqt", List.of(new Main.Version().getVersion()[0].substring("fqt ".length())));
    section(
        out,
        "jdk",
        List.of(
            "%s %s in %s"
                .formatted(
                    Runtime.version(),
                    System.getProperty("java.vendor"),
                    System.getProperty("java.home"))));
    section(
        out,
        "machine",
        List.of(
            "%s %s, %d processors"
                .formatted(
                    System.getProperty("os.name"),
                    System.getProperty("os.arch"),
                    runtime.availableProcessors())));
    section(out, "memory", List.of(memory(runtime)));
    section(out, "cpu", describe(Device.CPU));
    section(out, "gpu", CudaDevices.describe());
    return 0;
  }

  private static String memory(Runtime runtime) {
    OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
    return "%s, %s free; Java heap up to %s, tensors are outside of it"
        .formatted(
            Units.bytes(system.getTotalMemorySize()),
            Units.bytes(system.getFreeMemorySize()),
            Units.bytes(runtime.maxMemory()));
  }

  /** What a backend says of itself, or the reason why it cannot be used. */
  private static List<String> describe(Device device) {
    try {
      return Backends.of(device).describe();
    } catch (IllegalStateException | IllegalArgumentException unusable) {
      return List.of("none: " + Failures.sentence(unusable));
    }
  }

  private static void section(PrintWriter out, String title, List<String> lines) {
    String head = title;
    for (String line : lines) {
      out.printf("%-9s%s%n", head, line);
      head = "";
    }
  }
}
