package fqt.models;

import fqt.nn.LayerArgs;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/**
 * How well a model predicts a text: e to the mean negative log-likelihood. The text is cut into
 * windows without overlap, the tail dropped; each window makes {@code length − 1} predictions.
 *
 * @param value the perplexity
 * @param meanLoss mean negative log-likelihood of a prediction, in nats
 * @param predictions how many predictions were made
 */
public record Perplexity(double value, double meanLoss, long predictions) {
  /** Tokens that run through the layers together. */
  private static final long BATCH_TOKENS = 2048;

  /** Elements of the logits that are in memory together. */
  private static final long LOGITS = 1L << 25;

  /** Told after each batch how many of the windows are done. */
  @FunctionalInterface
  public interface Progress {
    /**
     * Called after each batch, on the evaluating thread.
     *
     * @param windows how many are done
     * @param allWindows how many there are
     */
    void done(long windows, long allWindows);
  }

  /**
   * {@return the perplexity of ids over windows of a length}
   *
   * @param model the model that predicts
   * @param ids I32 of any shape, read as one text
   * @param length tokens of a window, at least 2
   */
  public static Perplexity of(CausalLm model, Tensor ids, long length) {
    return of(model, ids, length, (done, all) -> {});
  }

  /**
   * {@return the perplexity of ids over windows of a length}
   *
   * @param model the model that predicts
   * @param ids I32 of any shape, read as one text
   * @param length tokens of a window, at least 2
   * @param progress told after each batch
   * @throws IllegalArgumentException if there is not a single window
   */
  public static Perplexity of(CausalLm model, Tensor ids, long length, Progress progress) {
    long windows = length < 2 ? 0 : ids.count() / length;
    if (windows == 0) {
      throw new IllegalArgumentException(
          "perplexity of %d tokens in windows of %d; expected windows of at least 2 and one full one"
              .formatted(ids.count(), length));
    }
    Tensor cut = Ops.contiguous(ids).reshape(-1).slice(0, 0, windows * length);
    long batch = Math.max(1, BATCH_TOKENS / length);
    double sum = 0;
    for (long from = 0; from < windows; from += batch) {
      long to = Math.min(windows, from + batch);
      sum += loss(model, cut.slice(0, from * length, to * length), length);
      progress.done(to, windows);
    }
    long predictions = windows * (length - 1);
    return new Perplexity(Math.exp(sum / predictions), sum / predictions, predictions);
  }

  /** Sum of the losses of some windows. */
  private static double loss(CausalLm model, Tensor ids, long length) {
    try (Scope scope = Scope.open()) {
      long windows = ids.dim(0) / length;
      long[] bounds = new long[Math.toIntExact(windows + 1)];
      for (int i = 0; i < bounds.length; i++) {
        bounds[i] = i * length;
      }
      Tensor onDevice = Ops.to(Ops.to(ids, DType.I32), model.device());
      LayerArgs args = model.args(bounds);
      Tensor hidden = model.runLayers(model.embed(onDevice), args);
      double sum = 0;
      for (int i = 0; i < windows; i++) {
        long start = bounds[i];
        sum +=
            windowLoss(
                model,
                hidden.slice(0, start, start + length - 1),
                onDevice.slice(0, start + 1, start + length));
      }
      return sum;
    }
  }

  /** Sum of the losses of hidden states F32 [tokens, hidden] against their next ids. */
  private static double windowLoss(CausalLm model, Tensor hidden, Tensor next) {
    long rows = Math.max(1, LOGITS / model.config().text().vocabulary());
    double sum = 0;
    for (long from = 0; from < hidden.dim(0); from += rows) {
      try (Scope scope = Scope.open()) {
        long to = Math.min(hidden.dim(0), from + rows);
        Tensor logits = model.finish(hidden.slice(0, from, to));
        Tensor losses = Ops.to(Ops.crossEntropy(logits, next.slice(0, from, to)), Device.CPU);
        for (long i = 0; i < to - from; i++) {
          sum += losses.get(i);
        }
      }
    }
    return sum;
  }
}
