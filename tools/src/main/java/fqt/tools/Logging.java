package fqt.tools;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.function.Function;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * Takes what the libraries log ({@link System.Logger}s below {@code fqt}): everything to a file,
 * each linear with its error, and warnings to the terminal. Closing it puts all back as it was.
 *
 * {@snippet :
 * try (Logging log = Logging.setup(Path.of("run.log"))) {
 *   Gptq.quantize(model.layers(), inputs, GptqConfig.defaults());
 * }
 * }
 *
 * <p>A system whose {@code System.Logger}s go elsewhere than {@code java.util.logging} sets them up
 * itself and has no use for this.
 */
public final class Logging implements AutoCloseable {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ss.SSS").withZone(ZoneId.systemDefault());

  private final Logger root = Logger.getLogger("fqt");
  private final Level levelBefore = root.getLevel();
  private final boolean parentsBefore = root.getUseParentHandlers();
  private final Handler file;
  private final Handler terminal;
  private final PrintWriter lines;

  private Logging(PrintWriter lines, PrintWriter screen) {
    this.lines = lines;
    file = new Lines(lines, Level.FINE, Logging::line);
    terminal = new Lines(screen, Level.WARNING, Logging::warning);
    root.setLevel(Level.FINE);
    root.setUseParentHandlers(false);
    root.addHandler(file);
    root.addHandler(terminal);
  }

  /**
   * Begins to write a log, after what the file holds already; warnings go to standard error.
   *
   * @throws UncheckedIOException if the file cannot be written
   */
  public static Logging setup(Path file) {
    return setup(file, new PrintWriter(System.err, true, StandardCharsets.UTF_8));
  }

  /** The same with another terminal. */
  static Logging setup(Path file, PrintWriter terminal) {
    try {
      return new Logging(
          new PrintWriter(
              Files.newBufferedWriter(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND)),
          terminal);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Ends the log. */
  @Override
  public void close() {
    root.removeHandler(file);
    root.removeHandler(terminal);
    root.setLevel(levelBefore);
    root.setUseParentHandlers(parentsBefore);
    lines.close();
  }

  private static String line(LogRecord entry) {
    Throwable thrown = entry.getThrown();
    return "%s %-7s %s: %s%s"
        .formatted(
            TIME.format(Instant.ofEpochMilli(entry.getMillis())),
            word(entry.getLevel()),
            entry.getLoggerName(),
            entry.getMessage(),
            thrown == null ? "" : " (" + thrown + ")");
  }

  /** The names of levels that System.Logger has. */
  private static String word(Level level) {
    if (level.intValue() >= Level.SEVERE.intValue()) {
      return "ERROR";
    }
    if (level.intValue() >= Level.WARNING.intValue()) {
      return "WARNING";
    }
    return level.intValue() >= Level.INFO.intValue() ? "INFO" : "DEBUG";
  }

  /** Takes the place of a progress bar, which is drawn again. */
  private static String warning(LogRecord entry) {
    String clear = Integer.getInteger("fqt.columns", 0) > 0 ? "\r\u001b[K" : "";
    return clear + "warning: " + entry.getMessage();
  }

  /** Writes entries as lines, at once. */
  private static final class Lines extends Handler {
    private final PrintWriter out;
    private final Function<LogRecord, String> form;

    Lines(PrintWriter out, Level least, Function<LogRecord, String> form) {
      this.out = out;
      this.form = form;
      super.setLevel(least);
    }

    @Override
    public synchronized void publish(LogRecord entry) {
      if (isLoggable(entry)) {
        out.println(form.apply(entry));
        out.flush();
      }
    }

    @Override
    public void flush() {
      out.flush();
    }

    /** The end of the process closes handlers, and others may still have something to say. */
    @Override
    public void close() {
      out.flush();
    }
  }
}
