package fqt.quant;

import fqt.nn.Hooks;
import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.flow.Target;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Axis;
import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.List;
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

  private final Target target;
  private final Quantizer quantizer;
  private final long group;
  private final List<Tensor> moments = new ArrayList<>();

  private ClipSearch(Target target, Quantizer weights) {
    this.target = target;
    quantizer = weights.withSearch(false);
    long inputs = target.linear().inputs();
    group = quantizer.blocks().columnsOf(inputs);
    for (long from = 0; from < inputs; from += group) {
      long size = Math.min(group, inputs - from);
      Device device = target.linear().weight().device();
      moments.add(Ops.zeros(device, DType.F32, size, size));
    }
  }

  /** The columns of a matrix that belong to a group. */
  private Tensor part(Tensor x, int number) {
    long from = number * group;
    return Ops.contiguous(x.slice(1, from, Math.min(x.dim(1), from + group)));
  }

  /**
   * Clips linears of a layer; new weights belong to the current scope.
   *
   * @param samples runs the samples on which the output is judged
   */
  static void run(Module layer, List<Target> targets, LinearRules<Scheme> rules, Runnable samples) {
    try (Scope scope = Scope.open();
        Hooks hooks = new Hooks()) {
      hooks.add(SparseMoe.showAllTokens(layer));
      List<ClipSearch> searches = new ArrayList<>();
      for (Target target : targets) {
        Quantizer weights = rules.choice(target.name()).weights();
        boolean byRow = weights.codes() == CodeType.INTEGER && weights.blocks().rows() == 1;
        if (byRow && !LEFT_ALONE.matcher(target.name()).find()) {
          ClipSearch search = new ClipSearch(target, weights);
          searches.add(search);
          hooks.add(target.linear().before((module, input, args) -> search.add(input)));
        }
      }
      samples.run();
      searches.forEach(search -> search.target.linear().setWeight(scope.keep(search.clipped())));
    }
  }

  private void add(Tensor input) {
    try (Scope scope = Scope.open()) {
      Tensor rows = Host.rows(input);
      for (int g = 0; g < moments.size() && rows.dim(0) > 0; g++) {
        Ops.syrkInto(1, part(rows, g), 1, moments.get(g));
      }
    }
  }

  private Tensor clipped() {
    try (Scope scope = Scope.open()) {
      Tensor weight = target.weight();
      Tensor largest = Ops.blockRange(Ops.unary(UnaryOp.ABS, weight), quantizer.blocks()).max();
      float[] best =
          ShrinkSearch.best(
              STEPS,
              CANDIDATES,
              shrink -> {
                Tensor bound = Ops.affine(largest, shrink, 0);
                Tensor rounded = quantizer.fake(clamped(weight, bound));
                return errors(Ops.subtract(rounded, weight));
              });
      Tensor shrink = Host.tensor(weight.device(), best, largest.shape().toArray());
      return scope.keep(clamped(weight, Ops.multiply(largest, shrink)));
    }
  }

  /** Each element within plus and minus the bound of its group. */
  private Tensor clamped(Tensor weight, Tensor bound) {
    try (Scope scope = Scope.open()) {
      Tensor high = Host.spread(bound, group, weight.dim(1));
      Tensor below = Ops.binary(BinaryOp.MIN, weight, high);
      return scope.keep(Ops.binary(BinaryOp.MAX, below, Ops.affine(high, -1, 0)));
    }
  }

  /** {@code Δ G Δᵀ} of every row and group, row by row. */
  private float[] errors(Tensor change) {
    float[] errors = new float[Math.toIntExact(change.dim(0) * moments.size())];
    for (int g = 0; g < moments.size(); g++) {
      Tensor part = part(change, g);
      Tensor product = Ops.multiply(Ops.matmul(part, moments.get(g)), part);
      float[] sums = Host.floats(Ops.reduce(ReduceOp.SUM, Axis.ROWS, product));
      for (int n = 0; n < sums.length; n++) {
        errors[n * moments.size() + g] = sums[n];
      }
    }
    return errors;
  }
}
