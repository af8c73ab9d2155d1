package fqt.quant;

import fqt.nn.Module;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Watches the inputs of a layer's linears while calibration samples run through it: which come
 * first, and which share an input.
 */
final class InputWatch {
  private static final Pattern NUMBER = Pattern.compile("(?<=^|\\.)\\d+(?=\\.|$)");

  private InputWatch() {}

  /**
   * Sets of linears in the order in which they run. Linears fed the same tensor are one stage, and
   * so are those whose paths differ only in a number, such as the same projection of all experts.
   */
  static List<List<SchemeRules.Target>> stages(
      Module layer, Collection<SchemeRules.Target> targets, LayerForwardManager forward) {
    Map<String, Integer> stageOf = new HashMap<>();
    Map<Tensor, Integer> stageOfInput = new IdentityHashMap<>();
    List<List<SchemeRules.Target>> stages = new ArrayList<>();
    try (Hooks hooks = new Hooks()) {
      for (SchemeRules.Target target : targets) {
        hooks.before(
            target,
            input -> {
              int next = stages.size();
              int stage =
                  stageOf.computeIfAbsent(
                      kind(target), kind -> stageOfInput.getOrDefault(input, next));
              stageOfInput.putIfAbsent(input, stage);
              if (stage == next) {
                stages.add(new ArrayList<>());
              }
            });
      }
      forward.observe(layer, 0);
    }
    List<SchemeRules.Target> unseen = new ArrayList<>();
    for (SchemeRules.Target target : targets) {
      Integer stage = stageOf.get(kind(target));
      (stage == null ? unseen : stages.get(stage)).add(target);
    }
    if (!unseen.isEmpty()) {
      stages.add(unseen);
    }
    return stages;
  }

  private static String kind(SchemeRules.Target target) {
    return NUMBER.matcher(target.name()).replaceAll("*");
  }

  /** Hooks that go away together. */
  static final class Hooks implements AutoCloseable {
    interface InputHook {
      void see(Tensor input);
    }

    private final List<Module.Registration> registrations = new ArrayList<>();

    void before(SchemeRules.Target target, InputHook hook) {
      registrations.add(target.linear().before((module, input, args) -> hook.see(input)));
    }

    @Override
    public void close() {
      registrations.forEach(Module.Registration::close);
    }
  }
}
