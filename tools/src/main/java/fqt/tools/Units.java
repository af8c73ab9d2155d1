package fqt.tools;

import java.time.Duration;
import java.util.Locale;

/** Sizes and times as people read them. */
final class Units {
  private Units() {}

  /** Bytes in binary units, such as {@code 1.9 MiB}. */
  static String bytes(long count) {
    if (count < 1024) {
      return count + " B";
    }
    double value = count;
    int unit = -1;
    while (value >= 1023.5 && unit < 4) {
      value /= 1024;
      unit++;
    }
    return String.format(
        Locale.ROOT, value < 99.95 ? "%.1f %ciB" : "%.0f %ciB", value, "KMGTP".charAt(unit));
  }

  /**
   * Seconds to a sensible precision, such as {@code 0.42 s}, {@code 12.3 s} or {@code 3:07 min}.
   */
  static String time(Duration duration) {
    double seconds = duration.toNanos() / 1e9;
    if (seconds < 60) {
      return String.format(Locale.ROOT, seconds < 9.995 ? "%.2f s" : "%.1f s", seconds);
    }
    long whole = Math.round(seconds);
    return whole < 3600
        ? String.format(Locale.ROOT, "%d:%02d min", whole / 60, whole % 60)
        : String.format(Locale.ROOT, "%d:%02d h", whole / 3600, whole / 60 % 60);
  }
}
