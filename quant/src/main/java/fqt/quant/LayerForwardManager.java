package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/**
 * Runs layers over all calibration samples, one sample at a time, in their order. Each run frees
 * what it allocated.
 */
public final class LayerForwardManager {
  /** Sees each sample before it runs. */
  @FunctionalInterface
  public interface Watcher {
    /** A sample is about to run through the layer. */
    void starting(int sample);
  }

  private final CalibrationInputs inputs;

  /** Runs layers over these samples. */
  public LayerForwardManager(CalibrationInputs inputs) {
    this.inputs = inputs;
  }

  /** Moves every sample from before the layer to after it. */
  public void advance(Module layer) {
    for (int i = 0; i < inputs.size(); i++) {
      try (Scope scope = Scope.open()) {
        inputs.replace(i, layer.apply(inputs.hidden(i), inputs.args(i)));
      }
    }
  }

  /**
   * Runs every sample through the layer for what hooks see; the samples stay where they are. A hook
   * that has seen enough of a sample throws {@link #enough()}.
   */
  public void observe(Module layer, Watcher watcher) {
    for (int i = 0; i < inputs.size(); i++) {
      watcher.starting(i);
      observe(layer, i);
    }
  }

  /** Runs one sample through the layer for what hooks see. */
  public void observe(Module layer, int sample) {
    try (Scope scope = Scope.open()) {
      Tensor unused = layer.apply(inputs.hidden(sample), inputs.args(sample));
    } catch (Enough seen) {
      // The hook asked to skip the rest of the layer.
    }
  }

  /** What a hook throws to skip the rest of a layer that is only observed. */
  static RuntimeException enough() {
    return Enough.INSTANCE;
  }

  /** Unwinds a run; the scopes that the layer opened close on the way. */
  private static final class Enough extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final Enough INSTANCE = new Enough();

    private Enough() {
      super("seen enough", null, false, false);
    }
  }
}
