package fqt.quant.flow;

import fqt.nn.Hooks;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntConsumer;

/**
 * Something that is added up over the inputs of linears in all calibration samples, such as a
 * Hessian. Linears that are fed the same tensors have the same one; linears that no sample reached
 * have none. What it allocates lives until this is closed.
 *
 * @param <S> the sum
 */
public final class SharedInputs<S> implements AutoCloseable {
  /** Runs all samples through the layer; is told what to do before each. */
  @FunctionalInterface
  public interface Samples {
    /**
     * Runs them, each until a hook has seen enough.
     *
     * @param starting is told the number of each sample before it runs
     */
    void run(IntConsumer starting);
  }

  private final Function<Tensor, S> create;
  private final BiConsumer<S, Tensor> add;
  private final Map<Target, S> byTarget = new HashMap<>();
  private final List<Scope.Holding> holdings = new ArrayList<>();
  // Of the sample that runs now: the sum that took each input, who fed it, who has not run.
  private final Map<Tensor, S> seen = new IdentityHashMap<>();
  private final Map<S, Target> feeders = new IdentityHashMap<>();
  private final Set<Target> waiting = new HashSet<>();

  private SharedInputs(Function<Tensor, S> create, BiConsumer<S, Tensor> add) {
    this.create = create;
    this.add = add;
  }

  /**
   * Runs all samples, each as far as the last of a stage's linears. Linears that are fed the same
   * tensor do not compute: nobody needs their output.
   *
   * @param <S> the sum
   * @param stage linears that can be quantized together
   * @param replay keeps what leads to the end of a part
   * @param samples runs all samples through the layer
   * @param create an empty sum for such inputs
   * @param add adds a sample's input to a sum
   * @return the sums, which belong to what is returned
   * @throws IllegalStateException if linears share their input in one sample and not in another
   */
  public static <S> SharedInputs<S> collect(
      Stages.Stage stage,
      Replay replay,
      Samples samples,
      Function<Tensor, S> create,
      BiConsumer<S, Tensor> add) {
    SharedInputs<S> sums = new SharedInputs<>(create, add);
    try (Hooks hooks = new Hooks()) {
      for (Target target : stage.targets()) {
        Consumer<Tensor> hook =
            input -> {
              if (stage.part() != null) {
                replay.keep(stage.part(), input);
              }
              sums.see(target, input);
            };
        if (stage.oneInput()) {
          target.place().set(new StandIn(target.linear().outputs(), hook));
          hooks.add(() -> target.place().set(target.linear()));
        } else {
          hooks.add(target.linear().before((module, input, args) -> hook.accept(input)));
        }
      }
      samples.run(
          sample -> {
            sums.seen.clear();
            sums.feeders.clear();
            sums.waiting.addAll(stage.targets());
          });
    } catch (RuntimeException e) {
      sums.close();
      throw e;
    }
    return sums;
  }

  /** In the place of a linear whose output nobody will use: shows its input, computes nothing. */
  private static final class StandIn extends Module {
    private final long outputs;
    private final Consumer<Tensor> hook;

    StandIn(long outputs, Consumer<Tensor> hook) {
      this.outputs = outputs;
      this.hook = hook;
    }

    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      hook.accept(input);
      Shape shape = input.shape().with(-1, outputs);
      return Ops.full(input.device(), DType.F32, 0, shape.toArray());
    }
  }

  /**
   * {@return the sum over a linear's inputs, or null}
   *
   * @param target one of the linears
   */
  public S of(Target target) {
    return byTarget.get(target);
  }

  /**
   * {@return linears with the same sum together, in the order of their first}
   *
   * @param targets linears of the layer
   */
  public Collection<List<Target>> sharing(List<Target> targets) {
    SequencedMap<Object, List<Target>> groups = new LinkedHashMap<>();
    for (Target target : targets) {
      Object key = byTarget.containsKey(target) ? of(target) : target;
      groups.computeIfAbsent(key, unused -> new ArrayList<>()).add(target);
    }
    return groups.sequencedValues();
  }

  private void see(Target target, Tensor input) {
    S own = byTarget.get(target);
    S shared = seen.get(input);
    if (shared == null) {
      shared = own == null ? create(input) : own;
      Target feeder = feeders.putIfAbsent(shared, target);
      requireSame(feeder == null || feeder.equals(target), target);
      add.accept(shared, input);
      seen.put(input, shared);
    }
    requireSame(own == null || own == shared, target);
    byTarget.put(target, shared);
    waiting.remove(target);
    if (waiting.isEmpty()) {
      throw Enough.SEEN;
    }
  }

  /** A hook runs inside the scopes of the layer, which the sum must outlive. */
  private S create(Tensor input) {
    try (Scope scope = Scope.open()) {
      S sum = create.apply(input);
      holdings.add(scope.handOver());
      return sum;
    }
  }

  private static void requireSame(boolean same, Target target) {
    if (!same) {
      throw new IllegalStateException(
          target.name() + " shares its input with another linear in some samples only");
    }
  }

  @Override
  public void close() {
    byTarget.clear();
    holdings.forEach(Scope.Holding::close);
    holdings.clear();
  }
}
