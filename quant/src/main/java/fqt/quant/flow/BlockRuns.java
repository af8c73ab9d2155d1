package fqt.quant.flow;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
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
 * other modules stand in the places of its linears.
 */
public final class BlockRuns implements AutoCloseable {
  private final Module root;
  private final String path;
  private ActivationStore inputs;
  private ActivationStore outputs;
  private ArgsStore tables;
  private final List<LayerArgs> args = new ArrayList<>();

  /**
   * No samples yet.
   *
   * @param root the layer
   * @param path where the block stands below it; empty for the layer itself
   */
  public BlockRuns(Module root, String path) {
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

  /** Number of samples. */
  public int size() {
    return args.size();
  }

  /**
   * Mean squared distance of the block's outputs from those that were added.
   *
   * @param standIn what takes the place of each target meanwhile
   */
  public double error(List<Target> targets, Function<Target, Module> standIn) {
    try (Scope scope = Scope.open()) {
      targets.forEach(target -> target.place().set(standIn.apply(target)));
      double sum = 0;
      long count = 0;
      for (int i = 0; i < size(); i++) {
        try (Scope one = Scope.open()) {
          Tensor found = block().apply(inputs.get(i), args.get(i));
          sum += Host.sumOfSquares(Ops.subtract(found, outputs.get(i)));
          count += found.count();
        }
      }
      return sum / count;
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
