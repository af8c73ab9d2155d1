package fqt.quant.format;

import fqt.io.JsonObject;
import fqt.quant.Quantizer;
import fqt.quant.ScaleRule;
import fqt.quant.Scheme;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import java.util.LinkedHashMap;
import java.util.Map;

/** A scheme as JSON, complete. */
final class SchemeJson {
  private static final String INTEGER = "INTEGER";

  private SchemeJson() {}

  static Map<String, Object> write(Scheme scheme) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("weights", write(scheme.weights()));
    json.put("activations", scheme.activations() == null ? null : write(scheme.activations()));
    return json;
  }

  private static Map<String, Object> write(Quantizer quantizer) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("codes", quantizer.isInteger() ? INTEGER : quantizer.codes().name());
    json.put("bits", (long) quantizer.bits());
    json.put("block_rows", quantizer.blocks().rows());
    json.put("block_columns", quantizer.blocks().columns());
    json.put("symmetric", quantizer.symmetric());
    json.put("scale_rule", quantizer.rule().name());
    json.put("scale_type", quantizer.scaleType().name());
    json.put("search", quantizer.search());
    return json;
  }

  static Scheme read(JsonObject json) {
    return new Scheme(
        quantizer(json.getObject("weights")),
        json.has("activations") ? quantizer(json.getObject("activations")) : null);
  }

  private static Quantizer quantizer(JsonObject json) {
    return new Quantizer(
        INTEGER.equals(json.getString("codes")) ? DType.U8 : constant(DType.class, json, "codes"),
        json.getInt("bits"),
        new Blocks(json.getLong("block_rows"), json.getLong("block_columns")),
        json.getBoolean("symmetric"),
        constant(ScaleRule.class, json, "scale_rule"),
        constant(DType.class, json, "scale_type"),
        json.getBoolean("search"));
  }

  private static <E extends Enum<E>> E constant(Class<E> type, JsonObject json, String key) {
    String name = json.getString(key);
    for (E constant : type.getEnumConstants()) {
      if (constant.name().equals(name)) {
        return constant;
      }
    }
    throw json.wrong(key, "the name of a " + type.getSimpleName(), name);
  }
}
