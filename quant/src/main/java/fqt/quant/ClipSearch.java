package fqt.quant;

import fqt.nn.Module;
import fqt.nn.SparseMoe;
import fqt.quant.flow.ChunkSum;
import fqt.quant.flow.JointWork;
import fqt.quant.flow.Moments;
import fqt.quant.flow.SharedInputs;
import fqt.quant.flow.Stages;
import fqt.quant.flow.Target;
import fqt.quant.rules.LinearRules;
import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.BitSet;
import java.util.List;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Finds, for each row and group of a weight, the range to which clipping it hurts the output least
 * (AWQ, Lin et al. 2023), and clips. Queries and keys are left alone: their errors meet again in a
 * product. What the change of a group does to the output is judged by the group alone.
 *
 * @param chosen the samples on which the output is judged
 */
record ClipSearch(
    Module layer, LinearRules<Scheme> rules, LayerForwardManager forward, BitSet chosen) {
  private static final int STEPS = 20;
  private static final int CANDIDATES = 10;
  private static final Pattern LEFT_ALONE =
      Pattern.compile("(^|\\.)(q_proj|k_proj|query|key|qkv)$");

  /** Clips linears of the layer; new weights belong to the current scope. */
  void run(List<Target> targets) {
    SequencedMap<Long, List<Target>> byGroup =
        targets.stream()
            .filter(target -> quantizer(target).isIntegerByRow())
            .filter(target -> !LEFT_ALONE.matcher(target.name()).find())
            .collect(
                Collectors.groupingBy(
                    target -> quantizer(target).blocks().columns(),
                    TreeMap::new,
                    Collectors.toList()));
    try (Module.Registration shown = SparseMoe.showAllTokens(layer)) {
      for (List<Target> some : byGroup.values()) {
        List<Tensor> clipped =
            JointWork.divide(
                forward.member(),
                some,
                () -> moments(some),
                (alike, sum) -> alike.stream().map(target -> clipped(target, sum)).toList(),
                (weight, change) -> change.apply(weight));
        for (int i = 0; i < some.size(); i++) {
          some.get(i).linear().setWeight(clipped.get(i));
        }
      }
    }
  }

  private Quantizer quantizer(Target target) {
    return rules.choice(target.name()).weights().withSearch(false);
  }

  /** What samples show of the inputs of linears whose groups have one size. */
  private SharedInputs<ChunkSum> moments(List<Target> targets) {
    Blocks blocks = quantizer(targets.getFirst()).blocks();
    return SharedInputs.collect(
        Stages.Stage.of(targets),
        forward.replay(),
        starting -> forward.observe(layer, chosen.stream(), starting),
        x -> Moments.noneOfGroups(forward.member(), x.dim(-1), blocks.columnsOf(x.dim(-1))),
        (sum, x) -> Moments.addGroups(sum, x, blocks.columnsOf(x.dim(-1)), forward.chunk()));
  }

  /** The clipped weight; as it is if no sample reached the linear. */
  private Tensor clipped(Target target, ChunkSum sum) {
    try (Scope scope = Scope.open()) {
      Tensor weight = target.weight();
      if (sum == null) {
        return scope.keep(weight);
      }
      Quantizer quantizer = quantizer(target);
      long group = quantizer.blocks().columnsOf(weight.dim(1));
      Tensor largest =
          QuantOps.blockRange(Ops.unary(UnaryOp.ABS, weight), quantizer.blocks()).max();
      float[] best =
          ShrinkSearch.best(
              STEPS,
              CANDIDATES,
              shrink -> {
                Tensor bound = Ops.affine(largest, shrink, 0);
                Tensor rounded = quantizer.fake(clamped(weight, bound, group));
                return Moments.squares(Ops.subtract(rounded, weight), sum.total(), group);
              });
      Tensor shrink = Host.tensor(weight.device(), best, largest.shape().toArray());
      return scope.keep(clamped(weight, Ops.multiply(largest, shrink), group));
    }
  }

  /** Each element within plus and minus the bound of its group. */
  private static Tensor clamped(Tensor weight, Tensor bound, long group) {
    try (Scope scope = Scope.open()) {
      Tensor high = Host.spread(bound, group, weight.dim(1));
      Tensor below = Ops.binary(BinaryOp.MIN, weight, high);
      return scope.keep(Ops.binary(BinaryOp.MAX, below, Ops.affine(high, -1, 0)));
    }
  }
}
