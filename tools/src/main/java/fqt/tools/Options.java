package fqt.tools;

import java.util.Locale;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** What several commands say about their options, and the checks that picocli does not do. */
final class Options {
  /** Help of every option that takes a data file. */
  static final String DATA_HELP =
      "Text: .txt (one document), .jsonl ({\"text\": ...} a line), or .safetensors[:NAME] (token"
          + " ids; NAME is 'ids' by default).";

  private static final Pattern BYTES = Pattern.compile("([0-9]{1,9})(|KB|MB|GB)");

  private Options() {}

  /** Refuses a number that is too small; null was not given. */
  static void atLeast(CommandSpec spec, String option, Number value, long least) {
    if (value != null && value.longValue() < least) {
      throw wrong(spec, option + " is " + value + "; expected " + least + " or more");
    }
  }

  /** What a library finds wrong with an option is wrong usage. */
  static <T> T usage(CommandSpec spec, Supplier<T> reading) {
    try {
      return reading.get();
    } catch (IllegalArgumentException wrong) {
      throw wrong(spec, Failures.oneLine(wrong.getMessage()));
    }
  }

  /** A number of bytes such as 800000, 500MB or 5GB; units are powers of 1000. */
  static long bytes(CommandSpec spec, String option, String text) {
    Matcher matcher = BYTES.matcher(text.toUpperCase(Locale.ROOT));
    if (!matcher.matches()) {
      throw wrong(spec, option + " is '" + text + "'; expected a size such as 500MB or 5GB");
    }
    long unit =
        switch (matcher.group(2)) {
          case "KB" -> 1_000L;
          case "MB" -> 1_000_000L;
          case "GB" -> 1_000_000_000L;
          default -> 1L;
        };
    return Math.max(1, Long.parseLong(matcher.group(1)) * unit);
  }

  /** Wrong usage, in one sentence. */
  static ParameterException wrong(CommandSpec spec, String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
