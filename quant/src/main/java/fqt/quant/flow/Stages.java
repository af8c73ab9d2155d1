package fqt.quant.flow;

import fqt.nn.Hooks;
import fqt.nn.Module;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * The linears of a layer in the order in which they run, in sets that can be quantized together:
 * those that are fed the same tensor, and those whose paths differ only in a number, such as the
 * same projection of all experts.
 */
public final class Stages {
  private Stages() {}

  /**
   * A set of linears.
   *
   * @param targets the linears
   * @param oneInput whether they are fed the same tensor, so that none needs another's output
   * @param part what ends in the only linear of the stage, or null
   */
  public record Stage(List<Target> targets, boolean oneInput, Replay.Part part) {
    /** Copies the list. */
    public Stage {
      targets = List.copyOf(targets);
    }

    /**
     * {@return linears with inputs of their own}
     *
     * @param targets linears that no sample reached, or that differ in what they are fed
     */
    public static Stage of(List<Target> targets) {
      return new Stage(targets, false, null);
    }
  }

  /**
   * Finds the stages of a layer.
   *
   * @param layer what {@code sample} runs
   * @param targets its linears that will be quantized
   * @param sample runs one sample through the layer
   * @return all targets, in the order in which they run; last those that the sample did not reach
   */
  public static List<Stage> of(Module layer, List<Target> targets, Runnable sample) {
    Map<String, Integer> stageOf = new HashMap<>();
    Map<Tensor, Integer> stageOfInput = new IdentityHashMap<>();
    PartWatch parts;
    try (Hooks hooks = new Hooks()) {
      parts = new PartWatch(layer, targets, hooks);
      for (Target target : targets) {
        hooks.add(
            target
                .linear()
                .before(
                    (module, input, args) -> {
                      int next = 1 + stageOf.values().stream().reduce(-1, Math::max);
                      int stage =
                          stageOf.computeIfAbsent(
                              target.kind(), kind -> stageOfInput.getOrDefault(input, next));
                      stageOfInput.putIfAbsent(input, stage);
                    }));
      }
      sample.run();
    }
    List<List<Target>> stages = new ArrayList<>();
    List<Target> unseen = new ArrayList<>();
    for (Target target : targets) {
      Integer stage = stageOf.get(target.kind());
      while (stage != null && stages.size() <= stage) {
        stages.add(new ArrayList<>());
      }
      (stage == null ? unseen : stages.get(stage)).add(target);
    }
    List<Stage> all = new ArrayList<>();
    for (int i = 0; i < stages.size(); i++) {
      int number = i;
      List<Target> stage = stages.get(i);
      long kinds = stage.stream().map(Target::kind).distinct().count();
      Replay.Part part =
          unseen.isEmpty() && stage.size() == 1
              ? parts.part(stage.getFirst(), before -> stageOf.get(before.kind()) < number)
              : null;
      all.add(new Stage(stage, kinds == stage.size(), part));
    }
    if (!unseen.isEmpty()) {
      all.add(Stage.of(unseen));
    }
    return all;
  }
}
