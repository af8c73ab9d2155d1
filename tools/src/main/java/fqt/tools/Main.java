package fqt.tools;

import java.io.PrintStream;
import java.io.PrintWriter;
import java.lang.module.ModuleDescriptor;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/**
 * The {@code fqt} command. Exit code 0 is success, 1 a failure, 2 wrong usage; an error is one
 * sentence on standard error, with a stack trace only under {@code --verbose}.
 */
@Command(
    name = "fqt",
    description = "Quantizes transformer models and shows what that does to them.",
    synopsisSubcommandLabel = "COMMAND",
    versionProvider = Main.Version.class,
    footer = {"", "'fqt COMMAND --help' tells more about a command."},
    subcommands = {
      DemoCommand.class,
      QuantizeCommand.class,
      EvalCommand.class,
      ForwardCommand.class,
      GenerateCommand.class,
      TokenizeCommand.class,
      RecordCommand.class,
      InspectCommand.class,
      PlotCommand.class,
      ReportCommand.class,
      RandomModelCommand.class,
      DoctorCommand.class,
      BenchCommand.class
    })
public final class Main implements Callable<Integer> {
  private static final Runtime.Version OLDEST = Runtime.Version.parse("25.0.3");

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      scope = ScopeType.INHERIT,
      description = "Show this help and exit.")
  @SuppressWarnings("UnusedVariable") // picocli reads it
  private boolean help;

  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      description = "Show the stack trace of an error.")
  private boolean verbose;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "Show the version and exit.")
  @SuppressWarnings("UnusedVariable") // picocli reads it
  private boolean version;

  @Spec private CommandSpec spec;

  private Main() {}

  /** What {@code --version} prints. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      ModuleDescriptor descriptor = Main.class.getModule().getDescriptor();
      String number =
          descriptor == null ? "(class path)" : descriptor.rawVersion().orElse("(development)");
      return new String[] {"fqt " + number};
    }
  }

  private static PrintWriter writer(PrintStream stream) {
    return new PrintWriter(stream, true, stream.charset());
  }

  /**
   * Runs one command line and ends the process.
   *
   * @param arguments as on the command line, the command first
   */
  public static void main(String[] arguments) {
    int code = run(writer(System.out), writer(System.err), arguments);
    System.out.flush();
    System.exit(code);
  }

  /**
   * Runs one command line.
   *
   * @param out takes what the command prints
   * @param err takes errors and progress
   * @param arguments as on the command line, the command first
   * @return the exit code
   */
  public static int run(PrintWriter out, PrintWriter err, String... arguments) {
    if (Runtime.version().compareToIgnoreOptional(OLDEST) < 0) {
      err.println(
          "fqt: this is Java %s; FQT needs 25.0.3 or later, because earlier ones move memory that native code uses (JDK-8377811)"
              .formatted(Runtime.version()));
      return 1;
    }
    CommandLine line = commandLine().setOut(out).setErr(err);
    int code;
    try {
      code = line.execute(arguments);
    } catch (VirtualMachineError broken) {
      err.println("fqt: " + Failures.sentence(broken));
      code = 1;
    }
    out.flush();
    err.flush();
    return code;
  }

  /** The command line with all its commands, before it has read any arguments. */
  static CommandLine commandLine() {
    return new CommandLine(new Main())
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setAbbreviatedOptionsAllowed(false)
        .setExecutionStrategy(Main::execute)
        .setParameterExceptionHandler(Main::wrongUsage)
        .setExecutionExceptionHandler(Main::failed);
  }

  private static int execute(ParseResult parsed) {
    try (Logging warnings = Logging.toTerminal(parsed.commandSpec().commandLine().getErr())) {
      return new CommandLine.RunLast().execute(parsed);
    }
  }

  @Override
  public Integer call() {
    throw new ParameterException(spec.commandLine(), "a command is missing");
  }

  private static int wrongUsage(ParameterException wrong, String[] arguments) {
    CommandLine line = wrong.getCommandLine();
    String name = line.getCommandSpec().qualifiedName();
    line.getErr()
        .printf(
            "%s: %s ('%s --help' tells more)%n", name, Failures.oneLine(wrong.getMessage()), name);
    return 2;
  }

  private static int failed(Exception failure, CommandLine line, ParseResult parsed) {
    if (Interruption.processEnds()) {
      return 1;
    }
    line.getErr()
        .println(line.getCommandSpec().qualifiedName() + ": " + Failures.sentence(failure));
    if (line.getCommandSpec().root().userObject() instanceof Main main && main.verbose) {
      failure.printStackTrace(line.getErr());
    }
    return 1;
  }
}
