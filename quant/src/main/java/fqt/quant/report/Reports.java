package fqt.quant.report;

import java.util.Locale;

/** Tells listener and log what became of linears and folds. */
public final class Reports {
  private static final System.Logger LOG = System.getLogger("fqt.quant");

  private Reports() {}

  /**
   * Tells what became of a linear. The listener hears all, the log the notes as warnings and the
   * rest for debugging.
   *
   * @param report what became of it
   * @param listener who else is told
   */
  public static void linear(LinearReport report, QuantListener listener) {
    LOG.log(
        System.Logger.Level.DEBUG,
        () ->
            String.format(
                Locale.ROOT,
                "%s: %s, loss %.6g, %d tokens, damping %.4g, %.3f s",
                report.name(),
                report.method(),
                report.loss(),
                report.tokens(),
                report.damping(),
                report.seconds()));
    for (String note : report.notes()) {
      LOG.log(System.Logger.Level.WARNING, () -> report.name() + ": " + note);
    }
    listener.linearFinished(report);
  }

  /**
   * Tells what became of a fold, to the listener and, for debugging, to the log.
   *
   * @param report what became of it
   * @param listener who else is told
   */
  public static void fold(FoldReport report, QuantListener listener) {
    LOG.log(
        System.Logger.Level.DEBUG,
        () ->
            String.format(
                Locale.ROOT,
                "%s: smoothed with ratio %.3g, loss %.6g before and %.6g after, %.3f s",
                report.producer(),
                report.ratio(),
                report.lossBefore(),
                report.loss(),
                report.seconds()));
    listener.foldFinished(report);
  }
}
