package fqt.cuda;

import java.util.List;

/** Checks of quantization and of the matrix operations that only quantization uses. */
final class QuantCases {
  private QuantCases() {}

  static List<BackendCheck.Case> all() {
    return List.of();
  }
}
