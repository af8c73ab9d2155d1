package fqt.tools;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
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
  private final Lines lines;
  private final Logging outer;

  private Logging(Lines lines, Logging outer) {
    this.lines = lines;
    this.outer = outer;
    if (levelBefore == null || levelBefore.intValue() > lines.getLevel().intValue()) {
      root.setLevel(lines.getLevel());
    }
    root.setUseParentHandlers(false);
    root.addHandler(lines);
  }

  /**
   * Begins to write a log, after what the file holds already; warnings go to standard error.
   *
   * @param file the log, made if it does not exist
   * @return ends the log when closed
   * @throws UncheckedIOException if the file cannot be written
   */
  public static Logging setup(Path file) {
    return new Logging(
        Lines.file(file), toTerminal(new PrintWriter(System.err, true, StandardCharsets.UTF_8)));
  }

  /** Begins to write a log and leaves the terminal as it is. */
  static Logging toFile(Path file) {
    return new Logging(Lines.file(file), null);
  }

  /** Begins to show warnings. */
  static Logging toTerminal(PrintWriter terminal) {
    return new Logging(new Lines(terminal, Level.WARNING, Logging::warning, false), null);
  }

  /** Ends the log. */
  @Override
  public void close() {
    root.removeHandler(lines);
    root.setLevel(levelBefore);
    root.setUseParentHandlers(parentsBefore);
    lines.end();
    if (outer != null) {
      outer.close();
    }
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
    private final boolean owned;

    Lines(PrintWriter out, Level least, Function<LogRecord, String> form, boolean owned) {
      this.out = out;
      this.form = form;
      this.owned = owned;
      super.setLevel(least);
    }

    /** Everything, after what the file holds already. */
    static Lines file(Path file) {
      try {
        Writer writer =
            Files.newBufferedWriter(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return new Lines(new PrintWriter(writer), Level.FINE, Logging::line, true);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
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

    void end() {
      out.flush();
      if (owned) {
        out.close();
      }
    }

    /** The end of the process closes handlers, and others may still have something to say. */
    @Override
    public void close() {
      out.flush();
    }
  }
}
