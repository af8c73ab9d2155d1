package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The Hessians of some linears of a layer, from all calibration samples. Linears that are fed the
 * same tensors have the same one; linears that no sample reached have none. Their memory lives
 * until this is closed.
 */
final class Hessians implements AutoCloseable {
  private final Map<SchemeRules.Target, Hessian> byTarget = new HashMap<>();
  private final List<Scope.Holding> holdings = new ArrayList<>();
  // Of the sample that runs now: the Hessian that took each input, who fed it, who has not run.
  private final Map<Tensor, Hessian> seen = new IdentityHashMap<>();
  private final Map<Hessian, SchemeRules.Target> feeders = new IdentityHashMap<>();
  private final Set<SchemeRules.Target> waiting = new HashSet<>();

  private Hessians() {}

  /**
   * Runs all samples through the layer, each as far as the last of the linears. Linears that are
   * fed the same tensor do not compute: nobody needs their output.
   *
   * @throws IllegalStateException if linears share their input in one sample and not in another
   */
  static Hessians collect(Module layer, InputWatch.Stage stage, LayerForwardManager forward) {
    Hessians hessians = new Hessians();
    try (InputWatch.Hooks hooks = new InputWatch.Hooks()) {
      for (SchemeRules.Target target : stage.targets()) {
        InputWatch.InputHook hook =
            input -> {
              if (stage.part() != null) {
                forward.replay().keep(stage.part(), input);
              }
              hessians.see(target, input);
            };
        if (stage.oneInput()) {
          hooks.standIn(target, hook);
        } else {
          hooks.before(target, hook);
        }
      }
      forward.observe(
          layer,
          sample -> {
            hessians.seen.clear();
            hessians.feeders.clear();
            hessians.waiting.addAll(stage.targets());
          });
    } catch (RuntimeException e) {
      hessians.close();
      throw e;
    }
    return hessians;
  }

  /** The Hessian of a linear, or null. */
  Hessian of(SchemeRules.Target target) {
    return byTarget.get(target);
  }

  private void see(SchemeRules.Target target, Tensor input) {
    Hessian own = byTarget.get(target);
    Hessian shared = seen.get(input);
    if (shared == null) {
      shared = own == null ? create(input) : own;
      SchemeRules.Target feeder = feeders.putIfAbsent(shared, target);
      requireSame(feeder == null || feeder.equals(target), target);
      shared.add(input);
      seen.put(input, shared);
    }
    requireSame(own == null || own == shared, target);
    byTarget.put(target, shared);
    waiting.remove(target);
    if (waiting.isEmpty()) {
      throw LayerForwardManager.enough();
    }
  }

  /** A hook runs inside the scopes of the layer, which the Hessian must outlive. */
  private Hessian create(Tensor input) {
    try (Scope scope = Scope.open()) {
      Hessian hessian = new Hessian(input.device(), input.dim(-1));
      holdings.add(scope.handOver());
      return hessian;
    }
  }

  private static void requireSame(boolean same, SchemeRules.Target target) {
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
