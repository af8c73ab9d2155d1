package fqt.tools;

import fqt.tensor.Backends;
import fqt.tensor.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code fqt bench}: how fast this machine is. */
@Command(
    name = "bench",
    description = {
      "Measures the kernels and what this machine can do at all, in about ten seconds.",
      "With --jmh it runs the JMH suite of a checkout, which takes its time and gives numbers to"
          + " rely on."
    })
final class BenchCommand implements Callable<Integer> {
  @Option(names = "--jmh", description = "Run the JMH suite; what follows -- goes to JMH.")
  private boolean jmh;

  @Option(
      names = "--size",
      paramLabel = "N",
      defaultValue = "1024",
      description = "Rows and columns of the matrices, a multiple of 128 (default: 1024).")
  private int size;

  @Option(
      names = "--seconds",
      paramLabel = "S",
      defaultValue = "1",
      description = "How long to measure each (default: 1).")
  private double seconds;

  @Parameters(
      paramLabel = "ARGUMENT",
      arity = "0..*",
      description = "With --jmh: options and patterns of names, as bench/run takes them.")
  private List<String> arguments = List.of();

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    if (jmh) {
      return suite();
    }
    if (!arguments.isEmpty()) {
      throw Options.wrong(spec, "'" + arguments.getFirst() + "' is for --jmh, which is missing");
    }
    if (size < 128 || size % 128 != 0 || size > 8192) {
      throw Options.wrong(
          spec, "--size is " + size + "; expected a multiple of 128, 8192 at the most");
    }
    if (!(seconds > 0) || seconds > 3600) {
      throw Options.wrong(spec, "--seconds is " + seconds + "; expected more than 0");
    }
    PrintWriter out = spec.commandLine().getOut();
    Backends.of(Device.CPU).describe().forEach(out::println);
    out.println();
    out.print(SelfMeasure.table(SelfMeasure.run(size, seconds)));
    return 0;
  }

  /** Runs {@code bench/run} of the checkout that this program is from. */
  private int suite() {
    Path root = checkout();
    if (root == null || !Files.isDirectory(root.resolve("bench/target/lib"))) {
      throw new IllegalStateException(
          "the JMH suite is not built: in a checkout run mvn -q -pl bench -am package -DskipTests");
    }
    List<String> command = new ArrayList<>(List.of(root.resolve("bench/run").toString()));
    command.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    try {
      return builder.start().waitFor() == 0 ? 0 : 1;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while the suite ran", e);
    }
  }

  /** The checkout whose {@code tools/target} holds this program, or null. */
  private static Path checkout() {
    try {
      Path program =
          Path.of(BenchCommand.class.getProtectionDomain().getCodeSource().getLocation().toURI());
      for (Path folder = program; folder != null; folder = folder.getParent()) {
        if (Files.isRegularFile(folder.resolve("bench/run"))) {
          return folder;
        }
      }
      return null;
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }
}
