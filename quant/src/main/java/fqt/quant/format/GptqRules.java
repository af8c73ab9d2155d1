package fqt.quant.format;

import fqt.quant.Quantizer;
import fqt.quant.Scheme;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * The {@code dynamic} table of the GPTQ format: {@code "-:regex"} names modules that stay in
 * floating point, {@code "+:regex"} modules with settings of their own. Servers match the regex
 * from the start of a module's path, in which they may have fused q, k and v or gate and up into
 * one; so each exception is written under the fused name too.
 */
final class GptqRules {
  private static final Pattern QKV = Pattern.compile("\\b[qkv]_proj$");
  private static final Pattern GATE_UP = Pattern.compile("\\b(gate|up)_proj$");

  private GptqRules() {}

  static Map<String, Object> dynamic(CheckpointContents contents) {
    Map<String, Object> dynamic = new LinkedHashMap<>();
    for (String name : contents.unquantized()) {
      add(dynamic, "-:", name, Map.of());
    }
    contents
        .quantized()
        .forEach(
            (name, scheme) -> {
              if (!scheme.equals(contents.base())) {
                add(dynamic, "+:", name, settings(scheme));
              }
            });
    return dynamic;
  }

  private static void add(
      Map<String, Object> dynamic, String sign, String name, Map<String, Object> settings) {
    dynamic.put(sign + exactly(name), settings);
    String fused =
        GATE_UP.matcher(QKV.matcher(name).replaceFirst("qkv_proj")).replaceFirst("gate_up_proj");
    dynamic.put(sign + exactly(fused), settings);
  }

  private static String exactly(String name) {
    return "^" + name.replace(".", "\\.") + "$";
  }

  private static Map<String, Object> settings(Scheme scheme) {
    Quantizer weights = scheme.weights();
    Map<String, Object> settings = new LinkedHashMap<>();
    settings.put("bits", (long) weights.bits());
    settings.put("group_size", GptqFormat.groupSize(weights));
    settings.put("sym", weights.symmetric());
    return settings;
  }
}
