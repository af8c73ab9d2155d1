package fqt.quant;

import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/**
 * Finds, for each block, how far its range should shrink for the least squared error: clipping a
 * few outliers buys finer steps for all the rest. Tries 80 ranges down to a fifth, as the reference
 * GPTQ does (there with |error|^2.4, which weighs outliers a little more).
 */
final class RangeSearch {
  private static final int STEPS = 100;
  private static final int CANDIDATES = 80;

  private final Quantizer quantizer;
  private final Tensor x;

  RangeSearch(Quantizer quantizer, Tensor x) {
    this.quantizer = quantizer;
    this.x = x;
  }

  /** The best scales and zero points for blocks with the given ranges. */
  Quantizer.Params best(Ops.Range range) {
    float[] errors = null;
    float[] scales = null;
    float[] zeros = null;
    for (int i = 0; i < CANDIDATES; i++) {
      try (Scope scope = Scope.open()) {
        Quantizer.Params params = quantizer.params(range, 1 - (float) i / STEPS);
        float[] error = Host.floats(quantizer.error(x, params));
        float[] scale = Host.floats(params.scale());
        float[] zero = params.zero() == null ? null : Host.floats(params.zero());
        if (errors == null) {
          errors = error;
          scales = scale;
          zeros = zero;
          continue;
        }
        for (int j = 0; j < error.length; j++) {
          if (error[j] < errors[j]) {
            errors[j] = error[j];
            scales[j] = scale[j];
            if (zeros != null) {
              zeros[j] = zero[j];
            }
          }
        }
      }
    }
    long[] shape = range.min().shape().toArray();
    return new Quantizer.Params(
        Host.tensor(x.device(), scales, shape),
        zeros == null ? null : Host.tensor(x.device(), zeros, shape));
  }
}
