package fqt.quant.flow;

import fqt.nn.Hooks;
import fqt.nn.Module;
import fqt.tensor.Axis;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** Finds, while one sample runs through a layer, the parts that end in one of its linears. */
final class PartWatch {
  private final Map<Module, Module.Child> places = new IdentityHashMap<>();
  private final Map<Module, Integer> runs = new IdentityHashMap<>();
  private final Map<Target, Module> endsIn = new IdentityHashMap<>();
  private final List<Target> order = new ArrayList<>();
  // The linear that ran last.
  private Target last;
  private Tensor lastOutput;
  private float[] lastSizes;

  /** Watches a layer until the hooks are closed. */
  PartWatch(Module layer, List<Target> targets, Hooks hooks) {
    for (Target target : targets) {
      hooks.add(target.linear().before((module, input, args) -> order.add(target)));
      hooks.add(
          target
              .linear()
              .after(
                  (module, input, args, output) -> {
                    last = target;
                    lastOutput = output;
                    lastSizes = sizes(output);
                  }));
    }
    layer.visit(
        (path, module) -> {
          if (!path.isEmpty()) {
            places.put(module, layer.place(path));
            hooks.add(module.after((ran, input, args, output) -> ran(ran, output)));
          }
        });
  }

  /** The inner module runs first: the outermost that ends in a linear is the one that remains. */
  private void ran(Module module, Tensor output) {
    runs.merge(module, 1, Integer::sum);
    if (last != null
        && module != last.linear()
        && output == lastOutput
        && contains(module, last.linear())
        && Arrays.equals(lastSizes, sizes(output))) {
      endsIn.put(last, module);
    }
  }

  /** Tells whether something was added in place to what a linear has computed. */
  private static float[] sizes(Tensor output) {
    return output.count() == 0
        ? new float[0]
        : Host.floats(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, Host.rows(output)));
  }

  private static boolean contains(Module module, Module wanted) {
    boolean[] found = new boolean[1];
    module.visit((path, inner) -> found[0] |= inner == wanted);
    return found[0];
  }

  /**
   * The outermost part that ends in a linear, if both ran once and all linears before it are final
   * when it is quantized.
   *
   * @param earlier whether a linear is quantized before this one
   * @return null if there is none
   */
  Replay.Part part(Target target, Predicate<Target> earlier) {
    Module module = endsIn.get(target);
    if (module == null || runs.get(module) != 1 || runs.get(target.linear()) != 1) {
      return null;
    }
    for (Target before : order.subList(0, order.indexOf(target))) {
      if (!earlier.test(before)) {
        return null;
      }
    }
    return new Replay.Part(places.get(module), target.place());
  }
}
