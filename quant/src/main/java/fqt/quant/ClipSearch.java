package fqt.quant;

import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.JointWork;
import fqt.quant.flow.SharedInputs;
import fqt.quant.flow.Stages;
import fqt.quant.flow.Target;
import fqt.quant.rules.LinearRules;
import fqt.tensor.Axis;
import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.SequencedMap;
import java.util.TreeMap;
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
  private final Tensor moments;

  /**
   * A search.
   *
   * @param moments of the inputs of each group, one behind the other: [groups, group · group]
   */
  private ClipSearch(Target target, Quantizer weights, Tensor moments) {
    this.target = target;
    this.moments = moments;
    quantizer = weights.withSearch(false);
    group = quantizer.blocks().columnsOf(target.linear().inputs());
  }

  /** The columns of a matrix that belong to a group. */
  private static Tensor part(Tensor x, long group, long number) {
    long from = number * group;
    return Ops.contiguous(x.slice(1, from, Math.min(x.dim(1), from + group)));
  }

  /** The second moment of a group's inputs, of which the last may have fewer. */
  private static Tensor moment(Tensor moments, long number, long inputs) {
    Tensor row = moments.slice(0, number, number + 1);
    return row.slice(1, 0, inputs * inputs).reshape(inputs, inputs);
  }

  /**
   * Clips linears of a layer; new weights belong to the current scope.
   *
   * @param chosen the samples on which the output is judged
   */
  static void run(
      Module layer,
      List<Target> targets,
      LinearRules<Scheme> rules,
      LayerForwardManager forward,
      BitSet chosen) {
    SequencedMap<Long, List<Target>> byGroup = new TreeMap<>();
    for (Target target : targets) {
      Quantizer weights = rules.choice(target.name()).weights();
      boolean byRow = weights.codes() == CodeType.INTEGER && weights.blocks().rows() == 1;
      if (byRow && !LEFT_ALONE.matcher(target.name()).find()) {
        // Of a group that is a whole row, -1: linears of any width.
        long group = weights.blocks().columns();
        byGroup.computeIfAbsent(group, unused -> new ArrayList<>()).add(target);
      }
    }
    try (Scope scope = Scope.open();
        Module.Registration shown = SparseMoe.showAllTokens(layer)) {
      for (List<Target> some : byGroup.sequencedValues()) {
        List<Tensor> clipped =
            JointWork.divide(
                forward.member(),
                some,
                () -> moments(layer, some, rules, forward, chosen),
                (sharing, sum) -> clipped(sharing, rules, sum),
                (weight, change) -> change.apply(weight));
        for (int i = 0; i < some.size(); i++) {
          some.get(i).linear().setWeight(scope.keep(clipped.get(i)));
        }
      }
    }
  }

  /** What samples show of the inputs of linears whose groups have one size. */
  private static SharedInputs<ChunkSum> moments(
      Module layer,
      List<Target> targets,
      LinearRules<Scheme> rules,
      LayerForwardManager forward,
      BitSet chosen) {
    Blocks blocks = rules.choice(targets.getFirst().name()).weights().blocks();
    return SharedInputs.collect(
        Stages.Stage.of(targets),
        forward.replay(),
        starting -> forward.observe(layer, chosen, starting),
        input -> {
          long group = blocks.columnsOf(input.dim(-1));
          long groups = Math.ceilDiv(input.dim(-1), group);
          return new ChunkSum(forward.member(), groups, group * group);
        },
        (sum, input) -> {
          Tensor rows = Host.rows(input);
          if (rows.dim(0) > 0) {
            Tensor place = sum.place(forward.chunk(), rows.dim(0));
            for (long g = 0; g < place.dim(0); g++) {
              Tensor part = part(rows, blocks.columnsOf(input.dim(-1)), g);
              Ops.syrkInto(1, part, 1, moment(place, g, part.dim(1)));
            }
          }
        });
  }

  /** The clipped weights of linears with the same inputs. */
  private static List<Tensor> clipped(
      List<Target> targets, LinearRules<Scheme> rules, ChunkSum sum) {
    List<Tensor> clipped = new ArrayList<>();
    for (Target target : targets) {
      Quantizer weights = rules.choice(target.name()).weights();
      clipped.add(
          sum == null ? target.weight() : new ClipSearch(target, weights, sum.total()).clipped());
    }
    return clipped;
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
    int groups = Math.toIntExact(moments.dim(0));
    float[] errors = new float[Math.toIntExact(change.dim(0) * groups)];
    for (int g = 0; g < groups; g++) {
      Tensor part = part(change, group, g);
      Tensor moment = moment(moments, g, part.dim(1));
      Tensor product = Ops.multiply(Ops.matmul(part, moment), part);
      float[] sums = Host.floats(Ops.reduce(ReduceOp.SUM, Axis.ROWS, product));
      for (int n = 0; n < sums.length; n++) {
        errors[n * groups + g] = sums[n];
      }
    }
    return errors;
  }
}
