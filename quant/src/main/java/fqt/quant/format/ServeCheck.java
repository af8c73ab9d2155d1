package fqt.quant.format;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What would keep vLLM or SGLang from loading a checkpoint, found from names and shapes alone. The
 * rules are those of the Marlin kernels, which serve packed weights, and of the loaders, which fuse
 * q, k and v and gate and up into one, and stack the experts of a layer.
 */
public final class ServeCheck {
  private static final List<Long> GROUPS = List.of(-1L, 32L, 64L, 128L);
  private static final Pattern BY_OUTPUT =
      Pattern.compile("\\b(q|k|v|gate|up)_proj$|\\b(qkv|fc1)$");
  private static final Pattern BY_INPUT = Pattern.compile("\\b(o|down)_proj$|\\b(proj|fc2)$");
  private static final Pattern FUSED = Pattern.compile("(.*)\\b(?:(q|k|v)_proj|(gate|up)_proj)$");
  private static final Pattern EXPERT =
      Pattern.compile("(.*\\.experts)\\.(\\d+)\\.((?:gate|up|down)_proj)$");
  private static final Pattern ALWAYS_FLOAT =
      Pattern.compile("(^|\\.)(mlp\\.gate|shared_expert_gate|lm_head)$");

  /** What it means that a rule is broken. */
  public enum Severity {
    /** The server's kernels do not take the shape; others, or newer ones, may. */
    SHAPE,
    /** Loaders put parts together that were given different schemes: no server can load that. */
    CONFLICT,
    /** A part has a form, or is missing, that loaders do not know. */
    FORM
  }

  /**
   * A rule that a checkpoint breaks.
   *
   * @param severity what that means
   * @param name the linear, or the linears that a server takes together
   * @param rule what is wrong
   * @param cure what to do about it
   */
  public record Problem(Severity severity, String name, String rule, String cure) {
    @Override
    public String toString() {
      return name + " " + rule + "; " + cure;
    }
  }

  private final List<ServedLinear> linears;
  private final int ranks;
  private final List<Problem> problems = new ArrayList<>();

  private ServeCheck(List<ServedLinear> linears, int ranks) {
    this.linears = linears;
    this.ranks = ranks;
  }

  /**
   * {@return everything that breaks a rule; empty if the checkpoint loads}
   *
   * @param linears all linears of the checkpoint
   * @param tensorParallel over how many ranks each linear is split
   */
  public static List<Problem> problems(List<ServedLinear> linears, int tensorParallel) {
    ServeCheck check = new ServeCheck(linears, tensorParallel);
    check.kinds();
    check.shapes();
    check.fusedShards();
    check.experts();
    return List.copyOf(check.problems);
  }

  private void add(Severity severity, String name, String rule, String cure) {
    problems.add(new Problem(severity, name, rule, cure));
  }

  /** Linears that must not be quantized, and storage that nobody loads. */
  private void kinds() {
    boolean simulated = false;
    for (ServedLinear linear : linears) {
      ServedLinear.Storage storage = linear.storage();
      if (storage == null) {
        continue;
      }
      simulated |= storage.layout().equals("simulated");
      if (ALWAYS_FLOAT.matcher(linear.name()).find()) {
        add(
            Severity.FORM,
            linear.name(),
            "is quantized, but servers keep it in 16 bits",
            "ignore it");
      }
      if (storage.layout().equals("gptq") && linear.name().contains("visual.")) {
        add(
            Severity.FORM,
            linear.name(),
            "is part of the vision tower, which servers keep in 16 bits in gptq checkpoints",
            "ignore it, or use --format compressed-tensors");
      }
      boolean gptq = storage.layout().equals("gptq");
      if (storage.isPacked() && storage.bits() != 4 && storage.bits() != 8) {
        add(
            Severity.FORM,
            linear.name(),
            "has " + storage.bits() + "-bit codes",
            "use 4 or 8 bits");
      } else if (gptq && !storage.symmetric()) {
        add(
            Severity.FORM,
            linear.name(),
            "has zero points, which servers no longer load",
            "use symmetric codes");
      }
    }
    if (simulated) {
      add(
          Severity.FORM,
          "the checkpoint",
          "is of the simulated format, which no server loads",
          "use --format compressed-tensors, gptq or awq");
    }
  }

  /** Divisibility of what each rank gets. */
  private void shapes() {
    Map<String, Long> fusedOutputs = new LinkedHashMap<>();
    for (ServedLinear linear : linears) {
      if (linear.storage() == null) {
        continue;
      }
      boolean byOutput = BY_OUTPUT.matcher(linear.name()).find();
      boolean byInput = !byOutput && BY_INPUT.matcher(linear.name()).find();
      long inputs = byInput ? linear.inputs() / ranks : linear.inputs();
      long outputs = byOutput ? linear.outputs() / ranks : linear.outputs();
      long split = byInput ? linear.inputs() : byOutput ? linear.outputs() : ranks;
      if (split % ranks != 0) {
        add(
            Severity.SHAPE,
            linear.name(),
            "has %d %s, which %d ranks cannot share"
                .formatted(split, byInput ? "inputs" : "outputs", ranks),
            "serve with fewer ranks");
      } else if (linear.storage().isPacked()) {
        packed(linear, inputs);
        fusedOutputs.merge(fusedName(linear.name()), outputs, Long::sum);
      }
    }
    fusedOutputs.forEach(
        (name, outputs) -> {
          if (outputs % 64 != 0) {
            add(
                Severity.SHAPE,
                name,
                "has %d outputs a rank, no multiple of 64".formatted(outputs),
                "ignore it, serve with fewer ranks, or use w8a8-int8");
          }
        });
  }

  private void packed(ServedLinear linear, long inputs) {
    long group = linear.storage().groupSize();
    boolean expert = EXPERT.matcher(linear.name()).matches();
    long step = expert && linear.name().endsWith("down_proj") ? Math.max(64, group) : 128;
    if (!GROUPS.contains(group)) {
      add(
          Severity.SHAPE,
          linear.name(),
          "has groups of " + group + ", and kernels take 32, 64, 128 or -1",
          "choose one of these with --group-size");
    }
    if (inputs % step != 0) {
      add(
          Severity.SHAPE,
          linear.name(),
          "has %d inputs a rank, no multiple of %d".formatted(inputs, step),
          "ignore it, serve with fewer ranks, or use w8a8-int8");
    } else if (group > 0 && inputs % group != 0) {
      add(
          Severity.SHAPE,
          linear.name(),
          "has %d inputs a rank, no multiple of its groups of %d".formatted(inputs, group),
          "choose a smaller --group-size or fewer ranks");
    }
  }

  /** The name under which a server fuses linears; a linear's own if it does not. */
  private static String fusedName(String name) {
    Matcher matcher = FUSED.matcher(name);
    if (!matcher.matches()) {
      return name;
    }
    return matcher.group(1) + (matcher.group(2) == null ? "gate_up_proj" : "qkv_proj");
  }

  /** What is fused must be stored alike, or not quantized at all. */
  private void fusedShards() {
    SequencedMap<String, List<ServedLinear>> shards = new LinkedHashMap<>();
    for (ServedLinear linear : linears) {
      if (FUSED.matcher(linear.name()).matches()) {
        shards.computeIfAbsent(fusedName(linear.name()), name -> new ArrayList<>()).add(linear);
      }
    }
    shards.forEach(
        (name, parts) -> {
          ServedLinear first = parts.getFirst();
          for (ServedLinear part : parts) {
            if (!Objects.equals(part.storage(), first.storage())) {
              add(
                  Severity.CONFLICT,
                  first.name() + " and " + part.name(),
                  "are one linear to servers, but are stored differently (%s and %s)"
                      .formatted(describe(first.storage()), describe(part.storage())),
                  "give both the same scheme, or ignore both");
              return;
            }
          }
        });
  }

  private static String describe(ServedLinear.Storage storage) {
    return storage == null
        ? "floating point"
        : "%d bits, groups of %d".formatted(storage.bits(), storage.groupSize());
  }

  /** Every expert of a layer must be there, stored as the others are. */
  private void experts() {
    Map<String, TreeMap<Integer, Map<String, ServedLinear>>> layers = new LinkedHashMap<>();
    for (ServedLinear linear : linears) {
      Matcher matcher = EXPERT.matcher(linear.name());
      if (matcher.matches()) {
        layers
            .computeIfAbsent(matcher.group(1), name -> new TreeMap<>())
            .computeIfAbsent(Integer.parseInt(matcher.group(2)), index -> new LinkedHashMap<>())
            .put(matcher.group(3), linear);
      }
    }
    layers.forEach(this::experts);
  }

  private void experts(String path, TreeMap<Integer, Map<String, ServedLinear>> experts) {
    ServedLinear.Storage storage =
        experts.firstEntry().getValue().values().iterator().next().storage();
    for (int i = 0; i <= experts.lastKey(); i++) {
      Map<String, ServedLinear> parts = experts.getOrDefault(i, Map.of());
      for (String part : List.of("gate_proj", "up_proj", "down_proj")) {
        ServedLinear linear = parts.get(part);
        String name = path + "." + i + "." + part;
        if (linear == null) {
          add(
              Severity.FORM,
              name,
              "is missing, and servers stack all experts of a layer",
              "write it");
        } else if (!Objects.equals(linear.storage(), storage)) {
          add(
              Severity.CONFLICT,
              name,
              "is stored differently (%s) from the other experts (%s)"
                  .formatted(describe(linear.storage()), describe(storage)),
              "give all experts of a layer the same scheme");
        }
      }
    }
  }
}
