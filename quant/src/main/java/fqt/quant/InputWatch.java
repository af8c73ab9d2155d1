package fqt.quant;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Shape;
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
   * Linears that are quantized together.
   *
   * @param targets the linears
   * @param oneInput whether they are fed the same tensor, so that none needs another's output
   * @param part what ends in the only linear of the stage, or null
   */
  record Stage(List<SchemeRules.Target> targets, boolean oneInput, Replay.Part part) {
    /** Linears with inputs of their own. */
    static Stage of(Collection<SchemeRules.Target> targets) {
      return new Stage(List.copyOf(targets), false, null);
    }
  }

  /**
   * Sets of linears in the order in which they run. Linears fed the same tensor are one stage, and
   * so are those whose paths differ only in a number, such as the same projection of all experts.
   */
  static List<Stage> stages(
      Module layer, Collection<SchemeRules.Target> targets, LayerForwardManager forward) {
    Map<String, Integer> stageOf = new HashMap<>();
    Map<Tensor, Integer> stageOfInput = new IdentityHashMap<>();
    List<List<SchemeRules.Target>> stages = new ArrayList<>();
    PartWatch parts;
    try (Hooks hooks = new Hooks()) {
      parts = new PartWatch(layer, targets, hooks);
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
    List<Stage> all = new ArrayList<>();
    for (int i = 0; i < stages.size(); i++) {
      int number = i;
      List<SchemeRules.Target> stage = stages.get(i);
      long kinds = stage.stream().map(InputWatch::kind).distinct().count();
      Replay.Part part =
          unseen.isEmpty() && stage.size() == 1
              ? parts.part(stage.getFirst(), before -> stageOf.get(kind(before)) < number)
              : null;
      all.add(new Stage(stage, kinds == stage.size(), part));
    }
    if (!unseen.isEmpty()) {
      all.add(Stage.of(unseen));
    }
    return all;
  }

  private static String kind(SchemeRules.Target target) {
    return kind(target.name());
  }

  /** A path without its numbers: experts have the same. */
  static String kind(String path) {
    return NUMBER.matcher(path).replaceAll("*");
  }

  /** Sees what a linear is fed. */
  @FunctionalInterface
  interface InputHook {
    /** Called before the linear computes. */
    void see(Tensor input);
  }

  /**
   * In the place of a linear whose output nobody will use: shows its input and computes nothing.
   */
  private static final class StandIn extends Module {
    private final long outputs;
    private final InputHook hook;

    StandIn(long outputs, InputHook hook) {
      this.outputs = outputs;
      this.hook = hook;
    }

    @Override
    protected Tensor forward(Tensor input, LayerArgs args) {
      hook.see(input);
      Shape shape = input.shape().with(-1, outputs);
      return Ops.full(input.device(), DType.F32, 0, shape.toArray());
    }
  }

  /** Hooks that go away together. */
  static final class Hooks implements AutoCloseable {
    private final List<Module.Registration> registrations = new ArrayList<>();

    void add(Module.Registration registration) {
      registrations.add(registration);
    }

    void before(SchemeRules.Target target, InputHook hook) {
      add(target.linear().before((module, input, args) -> hook.see(input)));
    }

    /** Puts a stand-in into a linear's place. */
    void standIn(SchemeRules.Target target, InputHook hook) {
      target.place().set(new StandIn(target.linear().outputs(), hook));
      add(() -> target.place().set(target.linear()));
    }

    @Override
    public void close() {
      registrations.forEach(Module.Registration::close);
    }
  }
}
