package fqt.quant.format;

import fqt.io.JsonObject;
import fqt.quant.Quantizer;
import fqt.quant.ScaleRule;
import fqt.quant.Scheme;
import fqt.tensor.Blocks;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * The {@code quantization_config} of the compressed-tensors formats: a group of settings for all
 * linears ({@code targets: ["Linear"]}), one more for each other scheme, with the linears that have
 * it by name, and the names of those that have none.
 */
final class CompressedTensorsConfig {
  private CompressedTensorsConfig() {}

  static Map<String, Object> of(CheckpointContents contents) {
    Map<Scheme, List<Object>> targets = new LinkedHashMap<>();
    targets.put(contents.base(), List.of("Linear"));
    contents
        .quantized()
        .forEach(
            (name, scheme) -> {
              if (!scheme.equals(contents.base())) {
                targets.computeIfAbsent(scheme, unused -> new ArrayList<>()).add(name);
              }
            });
    Map<String, Object> groups = new LinkedHashMap<>();
    targets.forEach(
        (scheme, names) ->
            groups.put("group_" + groups.size(), group(scheme, names, contents.groupIndices())));
    long formats =
        targets.keySet().stream().map(CompressedTensorsFormat::formatOf).distinct().count();
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("quant_method", "compressed-tensors");
    config.put(
        "format",
        formats > 1 ? "mixed-precision" : CompressedTensorsFormat.formatOf(contents.base()));
    config.put("quantization_status", "compressed");
    config.put("global_compression_ratio", null);
    config.put("kv_cache_scheme", null);
    config.put("ignore", contents.unquantized());
    config.put("config_groups", groups);
    config.put("meta", contents.method());
    return config;
  }

  private static Map<String, Object> group(
      Scheme scheme, List<Object> targets, boolean groupIndices) {
    Map<String, Object> group = new LinkedHashMap<>();
    group.put("targets", targets);
    group.put("weights", weights(scheme.weights(), groupIndices));
    group.put(
        "input_activations",
        scheme.activations() == null ? null : activations(scheme.activations()));
    group.put("output_activations", null);
    group.put("format", CompressedTensorsFormat.formatOf(scheme));
    return group;
  }

  private static Map<String, Object> weights(Quantizer quantizer, boolean groupIndices) {
    Map<String, Object> args = args(quantizer);
    long group = GptqFormat.groupSize(quantizer);
    boolean grouped = group != -1 && !quantizer.blocks().equals(Blocks.PER_TENSOR);
    args.put("strategy", grouped ? "group" : "channel");
    args.put("group_size", grouped ? group : null);
    args.put("dynamic", false);
    args.put("actorder", grouped && groupIndices ? "group" : null);
    return args;
  }

  private static Map<String, Object> activations(Quantizer quantizer) {
    Map<String, Object> args = args(quantizer);
    args.put("strategy", quantizer.blocks().equals(Blocks.PER_TENSOR) ? "tensor" : "token");
    args.put("group_size", null);
    args.put("dynamic", true);
    args.put("actorder", null);
    return args;
  }

  private static Map<String, Object> args(Quantizer quantizer) {
    Map<String, Object> args = new LinkedHashMap<>();
    args.put("num_bits", (long) quantizer.bits());
    args.put("type", quantizer.isInteger() ? "int" : "float");
    args.put("symmetric", quantizer.symmetric());
    args.put("block_structure", null);
    args.put("observer", "minmax");
    return args;
  }

  /** The settings that a linear has, or null. */
  static JsonObject groupFor(JsonObject config, String prefix) {
    JsonObject groups = config.getObject("config_groups");
    JsonObject general = null;
    for (String name : groups.names()) {
      JsonObject group = groups.getObject(name);
      for (String target : group.getStrings("targets")) {
        if (target.equals(prefix)
            || target.startsWith("re:")
                && Pattern.compile(target.substring(3)).matcher(prefix).lookingAt()) {
          return group;
        }
        if (target.equals("Linear")) {
          general = group;
        }
      }
    }
    return general;
  }

  /** How a linear's inputs are quantized. */
  static Quantizer activations(JsonObject group, String prefix) {
    JsonObject args = group.getObject("input_activations");
    if (!args.getBoolean("dynamic", false) || !args.getBoolean("symmetric", true)) {
      throw new IllegalArgumentException(
          prefix + " has static or asymmetric activations; only dynamic symmetric ones are read");
    }
    Blocks blocks =
        args.getString("strategy", "token").equals("tensor") ? Blocks.PER_TENSOR : Blocks.PER_ROW;
    boolean integer = args.getString("type", "int").equals("int");
    Quantizer quantizer =
        integer ? Quantizer.integer(args.getInt("num_bits"), blocks) : Quantizer.fp8(blocks);
    return quantizer.withRule(integer ? ScaleRule.RESTRICTED_RANGE : ScaleRule.FULL_RANGE);
  }

  /** Inputs in a group of a packed weight. */
  static long groupSize(JsonObject group, long inputs) {
    JsonObject args = group.getObject("weights");
    long size = args.getLong("group_size", -1);
    return size == -1 ? inputs : Math.min(size, inputs);
  }

  /** Bits of a packed weight. */
  static int bits(JsonObject group) {
    return group.getObject("weights").getInt("num_bits");
  }
}
