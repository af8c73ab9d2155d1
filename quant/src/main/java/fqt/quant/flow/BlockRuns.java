package fqt.quant.flow;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.quant.crew.Crew;
import fqt.tensor.Axis;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
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

  /** {@return what stands at the path now} */
  public Module block() {
    return root.find(path);
  }

  /**
   * Adds a sample, of which only every so many-th token is kept.
   *
   * @param input [tokens, features] of the block
   * @param seen what else it was given
   * @param output what it made of that
   * @param stride keeps tokens 0, stride, 2 · stride …; 1 for all
   */
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

  /** {@return the number of samples of all members, who ask together} */
  public int size() {
    return member.exchange(args.size()).stream().mapToInt(Integer::intValue).sum();
  }

  /**
   * What a member's samples show.
   *
   * @param squares the squared distance of each sample, for each way to stand in
   * @param count how many elements all samples have
   */
  private record Distance(List<List<Double>> squares, long count) {}

  /**
   * {@return the only one of {@link #errors} with one way to stand in}
   *
   * @param targets the linears that are stood in for
   * @param standIn what takes the place of each meanwhile
   */
  public double error(List<Target> targets, Function<Target, Module> standIn) {
    return errors(targets, List.of(standIn))[0];
  }

  /**
   * Mean squared distances of the block's outputs from those that were added, by all members, who
   * ask together; the same bits however many they are. A device is asked when it has run all.
   *
   * @param targets the linears that are stood in for
   * @param standIns ways to stand in: what takes the place of each target meanwhile
   * @return one for each way
   */
  public double[] errors(List<Target> targets, List<Function<Target, Module>> standIns) {
    List<Distance> parts = member.exchange(distance(targets, standIns));
    long count = parts.stream().mapToLong(Distance::count).sum();
    double[] errors = new double[standIns.size()];
    for (int i = 0; i < errors.length; i++) {
      for (Distance part : parts) {
        for (double squares : part.squares.get(i)) {
          errors[i] += squares;
        }
      }
      errors[i] /= count;
    }
    return errors;
  }

  private Distance distance(List<Target> targets, List<Function<Target, Module>> standIns) {
    try (Scope scope = Scope.open()) {
      List<List<Tensor>> rows = new ArrayList<>();
      for (Function<Target, Module> standIn : standIns) {
        rows.add(args.isEmpty() ? List.of() : squares(targets, standIn));
      }
      List<List<Double>> squares =
          rows.stream().map(some -> some.stream().map(Host::sum).toList()).toList();
      return new Distance(squares, outputs == null ? 0 : outputs.byteSize() / Float.BYTES);
    }
  }

  /** The squared distance in each row of each sample; in the current scope. */
  private List<Tensor> squares(List<Target> targets, Function<Target, Module> standIn) {
    List<Tensor> squares = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      targets.forEach(target -> target.place().set(standIn.apply(target)));
      for (int i = 0; i < args.size(); i++) {
        try (Scope one = Scope.open()) {
          Tensor found = block().apply(inputs.get(i), args.get(i));
          Tensor away = Host.rows(Ops.subtract(found, outputs.get(i)));
          Tensor rows = Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, away);
          squares.add(scope.keep(one.keep(rows)));
        }
      }
      return squares;
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
