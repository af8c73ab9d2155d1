package fqt.tools;

import java.io.PrintWriter;
import java.time.Duration;

/**
 * Shows how far a job of several parts is: on a terminal one bar that is redrawn, with the time
 * left; elsewhere one plain line a part. The launcher says through the system property {@code
 * fqt.columns} how wide the terminal is, 0 if there is none.
 */
final class Progress implements AutoCloseable {
  private static final long REDRAW_NANOS = 100_000_000L;

  private final PrintWriter out;
  private final int columns;
  private final String unit;
  private final long total;
  private final long start = System.nanoTime();
  private long lastDrawn;
  private double drawn = -1;

  /** Progress of {@code total} parts, each called {@code unit}, on this process's terminal. */
  Progress(PrintWriter out, String unit, long total) {
    this(out, Integer.getInteger("fqt.columns", 0), unit, total);
  }

  Progress(PrintWriter out, int columns, String unit, long total) {
    this.out = out;
    this.columns = columns;
    this.unit = unit;
    this.total = total;
  }

  /**
   * Shows that so many parts are complete, the fraction being the part in hand.
   *
   * @param note what is going on, a few words
   */
  void at(double parts, String note) {
    long now = System.nanoTime();
    if (columns < 20 || now - lastDrawn < REDRAW_NANOS && parts < total && drawn >= 0) {
      return;
    }
    lastDrawn = now;
    drawn = parts;
    String left = parts > 0 && parts < total ? Units.time(left(parts, now)) + " left" : "";
    String head = "%s %d/%d ".formatted(unit, (long) parts, total);
    int room = Math.min(40, columns - head.length() - left.length() - note.length() - 6);
    String bar = "";
    if (room > 4) {
      int full = (int) (room * Math.min(1, parts / total));
      bar = "[" + "#".repeat(full) + "-".repeat(room - full) + "] ";
    }
    String line = head + bar + (left.isEmpty() ? "" : left + "  ") + note;
    out.print("\r" + line.substring(0, Math.min(line.length(), columns - 1)) + "\u001b[K");
    out.flush();
  }

  /** Says that one more part is complete: a line of its own without a terminal. */
  void done(long parts, String note) {
    if (columns < 20) {
      out.printf("%s %d/%d: %s%n", unit, parts, total, note);
      out.flush();
    } else {
      at(parts, note);
    }
  }

  private Duration left(double parts, long now) {
    return Duration.ofNanos((long) ((now - start) * (total - parts) / parts));
  }

  /** Leaves the line of the bar. */
  @Override
  public void close() {
    if (drawn >= 0) {
      out.print("\r\u001b[K");
      out.flush();
    }
  }
}
