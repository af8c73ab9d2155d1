package fqt.quant.report;

import java.util.List;

/**
 * What the smoothing search found for one fold.
 *
 * @param producer full path of the norm or linear whose channels were divided
 * @param consumers full paths of the modules whose columns were multiplied
 * @param ratio the ratio that was chosen; NaN for none, which leaves all as it was
 * @param factors what each channel was divided by; null for none
 * @param lossBefore mean squared error of the judging block's output without smoothing
 * @param loss the same with the chosen factors
 * @param seconds time taken
 */
public record FoldReport(
    String producer,
    List<String> consumers,
    double ratio,
    float[] factors,
    double lossBefore,
    double loss,
    double seconds) {
  /** Copies the list. */
  public FoldReport {
    consumers = List.copyOf(consumers);
  }

  /**
   * {@return the report of the same search if the layer as a whole was better off without its
   * result}
   */
  public FoldReport undone() {
    return new FoldReport(producer, consumers, Double.NaN, null, lossBefore, lossBefore, seconds);
  }
}
