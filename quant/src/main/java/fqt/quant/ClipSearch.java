package fqt.quant;

import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.tensor.Axis;
import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Finds, for each row and group of a weight, the range to which clipping it hurts the output least
 * (AWQ, Lin et al. 2023), and clips. Queries and keys are left alone: their errors meet again in a
 * product. The squared error of the output, for the part that one group contributes, is {@code Δ G
 * Δᵀ} with the group's change Δ of a row and the second moment G of its inputs.
 */
final class ClipSearch {
  private static final int STEPS = 20;
  private static final int CANDIDATES = 10;
  private static final Pattern LEFT_ALONE =
      Pattern.compile("(^|\\.)(q_proj|k_proj|query|key|qkv)$");

  private ClipSearch() {}

  /** Clips the linears of a layer; new weights belong to the current scope. */
  static void run(String prefix, Module layer, CalibrationInputs inputs, SmoothQuantConfig config) {
    List<SchemeRules.Target> targets = targets(prefix, layer, config);
    try (Scope scope = Scope.open()) {
      Map<SchemeRules.Target, List<Tensor>> moments = new LinkedHashMap<>();
      for (SchemeRules.Target target : targets) {
        moments.put(target, zeroMoments(target, inputs.device()));
      }
      collect(layer, moments, inputs, config.searchTokens());
      for (SchemeRules.Target target : targets) {
        Linear linear = target.linear();
        linear.setWeight(scope.keep(clipped(target, moments.get(target))));
      }
    }
  }

  private static List<SchemeRules.Target> targets(
      String prefix, Module layer, SmoothQuantConfig config) {
    List<SchemeRules.Target> targets = new ArrayList<>();
    for (SchemeRules.Target target : config.rules().targets(prefix, layer).sequencedValues()) {
      Quantizer weights = target.scheme().weights();
      if (!LEFT_ALONE.matcher(target.name()).find()
          && weights.codes() == CodeType.INTEGER
          && weights.blocks().rows() == 1) {
        targets.add(target);
      }
    }
    return targets;
  }

  /** Bytes that {@link #run} collects of a layer. */
  static long byteSize(String prefix, Module layer, SmoothQuantConfig config) {
    long bytes = 0;
    for (SchemeRules.Target target : targets(prefix, layer, config)) {
      long inputs = target.linear().inputs();
      bytes += inputs * target.scheme().weights().blocks().columnsOf(inputs) * Float.BYTES;
    }
    return bytes;
  }

  private static List<Tensor> zeroMoments(SchemeRules.Target target, Device device) {
    long inputs = target.linear().inputs();
    long group = target.scheme().weights().blocks().columnsOf(inputs);
    List<Tensor> moments = new ArrayList<>();
    for (long from = 0; from < inputs; from += group) {
      long size = Math.min(group, inputs - from);
      moments.add(Ops.zeros(device, DType.F32, size, size));
    }
    return moments;
  }

  private static void collect(
      Module layer,
      Map<SchemeRules.Target, List<Tensor>> moments,
      CalibrationInputs inputs,
      long tokens) {
    boolean[] chosen = FoldSamples.chosen(inputs, tokens);
    try (Module.Registration shown = SparseMoe.showAllTokens(layer);
        InputWatch.Hooks hooks = new InputWatch.Hooks()) {
      moments.forEach((target, sums) -> hooks.before(target, input -> add(input, sums)));
      LayerForwardManager forward = new LayerForwardManager(inputs);
      for (int i = 0; i < chosen.length; i++) {
        if (chosen[i]) {
          forward.observe(layer, i);
        }
      }
    }
  }

  private static void add(Tensor input, List<Tensor> sums) {
    try (Scope scope = Scope.open()) {
      Tensor rows = FakeQuantLinear.rows(input);
      if (rows.dim(0) == 0) {
        return;
      }
      long from = 0;
      for (Tensor sum : sums) {
        long end = from + sum.dim(0);
        Ops.syrkInto(1, Ops.contiguous(rows.slice(1, from, end)), 1, sum);
        from = end;
      }
    }
  }

  private static Tensor clipped(SchemeRules.Target target, List<Tensor> moments) {
    try (Scope scope = Scope.open()) {
      Tensor weight = Rtn.weightOf(target);
      Quantizer quantizer = target.scheme().weights().withSearch(false);
      long group = quantizer.blocks().columnsOf(weight.dim(1));
      Tensor largest = Ops.blockRange(Ops.unary(UnaryOp.ABS, weight), quantizer.blocks()).max();
      float[] bounds = Host.floats(largest);
      float[] best = null;
      float[] chosen = bounds.clone();
      for (int i = 0; i < CANDIDATES; i++) {
        float shrink = 1 - (float) i / STEPS;
        try (Scope one = Scope.open()) {
          Tensor bound = Ops.affine(largest, shrink, 0);
          Tensor rounded = quantizer.fake(clamped(weight, bound, group));
          float[] errors = errors(Ops.subtract(rounded, weight), moments);
          if (best == null) {
            best = errors;
            continue;
          }
          for (int j = 0; j < errors.length; j++) {
            if (errors[j] < best[j]) {
              best[j] = errors[j];
              chosen[j] = shrink * bounds[j];
            }
          }
        }
      }
      Tensor bound = Host.tensor(weight.device(), chosen, largest.shape().toArray());
      return scope.keep(clamped(weight, bound, group));
    }
  }

  /** Each element within plus and minus the bound of its group. */
  private static Tensor clamped(Tensor weight, Tensor bound, long group) {
    try (Scope scope = Scope.open()) {
      int[] groupOf = new int[Math.toIntExact(weight.dim(1))];
      Arrays.setAll(groupOf, i -> (int) (i / group));
      Tensor index = Host.index(weight.device(), groupOf);
      Tensor high = QuantizedWeight.columns(bound, index);
      Tensor below = Ops.binary(BinaryOp.MIN, weight, high);
      return scope.keep(Ops.binary(BinaryOp.MAX, below, Ops.affine(high, -1, 0)));
    }
  }

  /** {@code Δ G Δᵀ} of every row and group, row by row. */
  private static float[] errors(Tensor change, List<Tensor> moments) {
    float[] errors = new float[Math.toIntExact(change.dim(0) * moments.size())];
    long from = 0;
    for (int g = 0; g < moments.size(); g++) {
      Tensor moment = moments.get(g);
      Tensor part = Ops.contiguous(change.slice(1, from, from + moment.dim(0)));
      Tensor product = Ops.multiply(Ops.matmul(part, moment), part);
      float[] sums = Host.floats(Ops.reduce(ReduceOp.SUM, Axis.ROWS, product));
      for (int n = 0; n < sums.length; n++) {
        errors[n * moments.size() + g] = sums[n];
      }
      from += moment.dim(0);
    }
    return errors;
  }
}
