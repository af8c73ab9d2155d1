package fqt.tools;

import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** What several commands say about their options, and the checks that picocli does not do. */
final class Options {
  /** Help of every option that takes a data file. */
  static final String DATA_HELP =
      "Text: .txt (one document), .jsonl ({\"text\": ...} a line), or .safetensors[:NAME] (token"
          + " ids; NAME is 'ids' by default).";

  private Options() {}

  /** Refuses a number that is too small; null was not given. */
  static void atLeast(CommandSpec spec, String option, Number value, long least) {
    if (value != null && value.longValue() < least) {
      throw wrong(spec, option + " is " + value + "; expected " + least + " or more");
    }
  }

  /** Wrong usage, in one sentence. */
  static ParameterException wrong(CommandSpec spec, String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
