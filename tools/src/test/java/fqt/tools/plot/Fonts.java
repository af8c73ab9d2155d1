package fqt.tools.plot;

import org.junit.jupiter.api.Assumptions;

/** Whether Java finds fonts on this machine. */
public final class Fonts {
  private Fonts() {}

  /** Ends the test as skipped if there are none. */
  public static void assumeThere() {
    try (Sheet sheet = new Sheet("", "")) {
      sheet.width("0", Sheet.label());
    } catch (IllegalStateException none) {
      Assumptions.abort(none.getMessage());
    }
  }
}
