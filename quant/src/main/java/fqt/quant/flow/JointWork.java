package fqt.quant.flow;

import fqt.quant.crew.Crew;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * Work on linears that the members of a crew divide: each linear is done by one of them, who knows
 * what the samples of all have shown, and every member gets all results.
 */
public final class JointWork {
  /** Linears that are fed the same tensors, by number; no sum if no sample reached them. */
  private record Group(List<Integer> targets, ChunkSum sum) {}

  /** What a member's samples show of a group. */
  private record Part(List<Integer> targets, List<Tensor> sums, long rows) {}

  private final Crew.Member member;
  private final List<Part> parts = new ArrayList<>();
  private final int[] groupOf;

  private JointWork(Crew.Member member, int targets) {
    this.member = member;
    groupOf = new int[targets];
    Arrays.fill(groupOf, -1);
  }

  /**
   * Does some work on linears. All members come here together, with the same linears.
   *
   * @param <R> what work makes of a linear
   * @param member one of the crew
   * @param targets the linears, the same for every member
   * @param collect runs a member's own samples; what it gives is closed when the work is done
   * @param work is given linears that are fed the same tensors, and the sum over these or null if
   *     no sample reached them; gives one result a linear
   * @param map gives a result with each of its tensors changed
   * @return the results of all linears, in their order; like those of work, in the current scope
   */
  public static <R> List<R> divide(
      Crew.Member member,
      List<Target> targets,
      Supplier<SharedInputs<ChunkSum>> collect,
      BiFunction<List<Target>, ChunkSum, List<R>> work,
      BiFunction<R, UnaryOperator<Tensor>, R> map) {
    Map<Integer, R> done = new TreeMap<>();
    List<Group> groups = new ArrayList<>();
    try (SharedInputs<ChunkSum> own = collect.get();
        Scope.Holding joined = join(member, targets, own, groups)) {
      for (Group group : groups) {
        List<Integer> numbers = group.targets.stream().filter(member::does).toList();
        List<R> results = work.apply(numbers.stream().map(targets::get).toList(), group.sum);
        for (int i = 0; i < results.size(); i++) {
          done.put(numbers.get(i), results.get(i));
        }
      }
    }
    return member.gather(done, targets.size(), map);
  }

  /**
   * Finds the groups with a linear that is this member's, in the order of their first linears.
   *
   * @return what was allocated for that
   */
  private static Scope.Holding join(
      Crew.Member member, List<Target> targets, SharedInputs<ChunkSum> sums, List<Group> groups) {
    List<Group> own = new ArrayList<>();
    for (List<Target> sharing : sums.sharing(targets)) {
      ChunkSum sum = sums.of(sharing.getFirst());
      List<Integer> numbers = sharing.stream().map(targets::indexOf).toList();
      own.add(new Group(numbers, sum == null || sum.rows() == 0 ? null : sum));
    }
    if (member.size() == 1) {
      groups.addAll(own);
      return () -> {};
    }
    List<Part> seen =
        own.stream()
            .filter(group -> group.sum != null)
            .map(group -> new Part(group.targets, group.sum.parts(), group.sum.rows()))
            .toList();
    try (Scope scope = Scope.open()) {
      JointWork joint = new JointWork(member, targets.size());
      member.exchange(seen).forEach(joint.parts::addAll);
      groups.addAll(joint.groups());
      member.done();
      return scope.handOver();
    }
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
  private ChunkSum joined(List<Integer> group) {
    ChunkSum sum = null;
    for (Part part : parts) {
      if (group.contains(part.targets.getFirst())) {
        if (sum == null) {
          long[] dims = part.sums.getFirst().shape().toArray();
          sum = new ChunkSum(Crew.alone(member.device()), dims);
        }
        sum.join(part.sums, part.rows);
      }
    }
    return sum;
  }
}
