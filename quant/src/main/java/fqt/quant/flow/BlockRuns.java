package fqt.quant.flow;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/**
 * What went into and came out of a block in some samples, and how far the block is from that when
 * other modules stand in the places of its linears. Each member of a crew has its own samples.
 */
public final class BlockRuns implements AutoCloseable {
  private final Crew.Member member;
  private final Module root;
  private final String path;
  private ActivationStore inputs;
  private ActivationStore outputs;
  private ArgsStore tables;
  private final List<LayerArgs> args = new ArrayList<>();

  /**
   * No samples yet.
   *
   * @param member whose samples will be added
   * @param root the layer
   * @param path where the block stands below it; empty for the layer itself
   */
  public BlockRuns(Crew.Member member, Module root, String path) {
    this.member = member;
    this.root = root;
    this.path = path;
  }

  /** What stands at the path now. */
  public Module block() {
    return root.find(path);
  }

  /** Adds a sample, of which only every so many-th token is kept. */
  public void add(Tensor input, LayerArgs seen, Tensor output, int stride) {
    if (args.isEmpty()) {
      inputs = new ActivationStore(input.device(), DType.F32);
      outputs = new ActivationStore(input.device(), DType.F32);
      tables = new ArgsStore(input.device());
    }
    try (Scope scope = Scope.open()) {
      inputs.add(everySoMany(input, stride));
      outputs.add(everySoMany(output, stride));
      args.add(tables.copy(seen));
    }
  }

  private static Tensor everySoMany(Tensor x, int stride) {
    if (stride == 1) {
      return x;
    }
    int[] rows = new int[Math.toIntExact(Math.ceilDiv(x.dim(0), (long) stride))];
    Arrays.setAll(rows, i -> i * stride);
    return Ops.gatherRows(x, Host.index(x.device(), rows));
  }

  /** Number of samples of all members, who ask together. */
  public int size() {
    return member.exchange(args.size()).stream().mapToInt(Integer::intValue).sum();
  }

  /** What a member's samples show: the squared distance of each, and how many elements all have. */
  private record Distance(List<Double> squares, long count) {}

  /**
   * Mean squared distance of the block's outputs from those that were added, by all members, who
   * ask together; the same bits however many they are.
   *
   * @param standIn what takes the place of each target meanwhile
   */
  public double error(List<Target> targets, Function<Target, Module> standIn) {
    Distance own = args.isEmpty() ? new Distance(List.of(), 0) : distance(targets, standIn);
    double sum = 0;
    long count = 0;
    for (Distance part : member.exchange(own)) {
      for (double squares : part.squares) {
        sum += squares;
      }
      count += part.count;
    }
    return sum / count;
  }

  private Distance distance(List<Target> targets, Function<Target, Module> standIn) {
    List<Double> squares = new ArrayList<>();
    long count = 0;
    try (Scope scope = Scope.open()) {
      targets.forEach(target -> target.place().set(standIn.apply(target)));
      for (int i = 0; i < args.size(); i++) {
        try (Scope one = Scope.open()) {
          Tensor found = block().apply(inputs.get(i), args.get(i));
          squares.add(Host.sumOfSquares(Ops.subtract(found, outputs.get(i))));
          count += found.count();
        }
      }
      return new Distance(squares, count);
    } finally {
      targets.forEach(target -> target.place().set(target.linear()));
    }
  }

  @Override
  public void close() {
    if (!args.isEmpty()) {
      inputs.close();
      outputs.close();
      tables.close();
      args.clear();
    }
  }
}
