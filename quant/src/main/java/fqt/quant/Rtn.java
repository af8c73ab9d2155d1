package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;

/** Round to nearest: quantizes every weight by itself, without calibration. */
public final class Rtn {
  private Rtn() {}

  /** Quantizes all layers. */
  public static void quantize(List<? extends Module> layers, SchemeRules rules) {
    quantize(layers, rules, QuantListener.NONE);
  }

  /**
   * Quantizes all layers. The quantized linears take the places of the old ones and belong to the
   * scope that is current now.
   *
   * @throws IllegalArgumentException if a weight holds values that are not finite
   */
  public static void quantize(
      List<? extends Module> layers, SchemeRules rules, QuantListener listener) {
    for (int i = 0; i < layers.size(); i++) {
      quantizeLayer("layers." + i, layers.get(i), rules, listener);
      listener.layerFinished(i, layers.get(i));
    }
  }

  /**
   * Quantizes one layer.
   *
   * @param prefix path of the layer, for names in reports and rules
   */
  public static void quantizeLayer(
      String prefix, Module layer, SchemeRules rules, QuantListener listener) {
    for (SchemeRules.Target target : rules.targets(prefix, layer).sequencedValues()) {
      long start = System.nanoTime();
      try (Scope scope = Scope.open()) {
        Tensor weight = weightOf(target);
        QuantizedWeight quantized = target.scheme().weights().quantize(weight);
        double loss = squaredError(weight, quantized);
        target.place().set(Scheme.keep(scope, target.scheme().linear(quantized, target.linear())));
        double seconds = (System.nanoTime() - start) / 1e9;
        Reports.linear(
            new LinearReport(target.name(), "rtn", loss, 0, 0, seconds, List.of()), listener);
      }
    }
  }

  /**
   * The weight of a linear in F32.
   *
   * @throws IllegalArgumentException if it holds a value that is not finite
   */
  static Tensor weightOf(SchemeRules.Target target) {
    Tensor weight = Ops.to(Ops.contiguous(target.linear().weight()), DType.F32);
    float[] rows = Host.floats(Ops.reduce(ReduceOp.MEAN_ABS, Axis.ROWS, weight));
    for (int i = 0; i < rows.length; i++) {
      if (!Float.isFinite(rows[i])) {
        throw new IllegalArgumentException(
            "the weight of %s, %s, has a value in row %d that is not finite"
                .formatted(target.name(), target.linear().weight(), i));
      }
    }
    return weight;
  }

  /** Σ (w − ŵ)². */
  static double squaredError(Tensor weight, QuantizedWeight quantized) {
    try (Scope scope = Scope.open()) {
      Tensor difference = Ops.subtract(weight, quantized.dequantize());
      return Host.sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, difference));
    }
  }
}
