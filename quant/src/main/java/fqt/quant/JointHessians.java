package fqt.quant;

import fqt.quant.crew.Crew;
import fqt.quant.flow.SharedInputs;
import fqt.quant.flow.Target;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedMap;
import java.util.TreeMap;

/** The Hessians of some linears over the samples of all members of a crew. */
final class JointHessians {
  /**
   * Linears that are fed the same tensors.
   *
   * @param targets their numbers
   * @param hessian null if no sample reached them
   */
  record Group(List<Integer> targets, Hessian hessian) {}

  /** What a member has of a group. */
  private record Part(List<Integer> targets, List<Tensor> sums, long tokens) {}

  private final Crew.Member member;
  private final List<Part> parts = new ArrayList<>();
  private final int[] groupOf;

  private JointHessians(Crew.Member member, int targets) {
    this.member = member;
    groupOf = new int[targets];
    Arrays.fill(groupOf, -1);
  }

  /**
   * The groups with a linear that this member quantizes, in the order of their first linears. All
   * members come here together.
   *
   * @param sums what this member's own samples gave; may be freed afterwards if there are others
   * @return in the current scope
   */
  static List<Group> of(Crew.Member member, List<Target> targets, SharedInputs<Hessian> sums) {
    List<Group> own = own(targets, sums);
    if (member.size() == 1) {
      return own;
    }
    List<Part> seen =
        own.stream()
            .filter(group -> group.hessian != null)
            .map(g -> new Part(g.targets, g.hessian.parts(), g.hessian.tokens()))
            .toList();
    JointHessians joint = new JointHessians(member, targets.size());
    member.exchange(seen).forEach(joint.parts::addAll);
    List<Group> groups = joint.groups();
    member.done();
    return groups;
  }

  private static List<Group> own(List<Target> targets, SharedInputs<Hessian> sums) {
    List<Group> groups = new ArrayList<>();
    for (List<Target> sharing : sums.sharing(targets)) {
      List<Integer> numbers = sharing.stream().map(targets::indexOf).toList();
      groups.add(new Group(numbers, sums.of(sharing.getFirst())));
    }
    return groups;
  }

  private List<Group> groups() {
    for (Part part : parts) {
      int first = part.targets.getFirst();
      int group = groupOf[first] < 0 ? first : groupOf[first];
      part.targets.forEach(target -> groupOf[target] = group);
    }
    SequencedMap<Integer, List<Integer>> byGroup = new TreeMap<>();
    for (int target = 0; target < groupOf.length; target++) {
      int group = groupOf[target] < 0 ? target : groupOf[target];
      byGroup.computeIfAbsent(group, unused -> new ArrayList<>()).add(target);
    }
    return byGroup.values().stream()
        .filter(group -> group.stream().anyMatch(member::does))
        .map(group -> new Group(group, joined(group)))
        .toList();
  }

  /** The sum of all parts of a group, in the order of the members and so of the samples. */
  private Hessian joined(List<Integer> group) {
    Hessian sum = null;
    for (Part part : parts) {
      if (group.contains(part.targets.getFirst())) {
        if (sum == null) {
          sum = new Hessian(member.device(), part.sums.getFirst().dim(0));
        }
        sum.join(part.sums, part.tokens);
      }
    }
    return sum;
  }
}
