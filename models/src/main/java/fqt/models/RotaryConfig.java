package fqt.models;

import fqt.io.JsonObject;
import fqt.nn.Rotary;
import fqt.nn.RotaryScaling;

/**
 * Rotary position embedding as {@code config.json} describes it: in the old style with {@code
 * rope_theta} and {@code rope_scaling}, or in the new with {@code rope_parameters}.
 *
 * @param theta base of the frequencies
 * @param dimensions elements of a head that turn
 * @param scaling how frequencies are stretched
 * @param sections frequencies for time, rows and columns in multimodal models; otherwise empty
 */
public record RotaryConfig(double theta, int dimensions, RotaryScaling scaling, int[] sections) {
  static RotaryConfig read(JsonObject config, long headSize) {
    JsonObject entries =
        config.getObjectOrEmpty(config.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
    double theta = entries.getDouble("rope_theta", config.getDouble("rope_theta", 10000));
    double partial =
        entries.getDouble("partial_rotary_factor", config.getDouble("partial_rotary_factor", 1.0));
    int[] sections = new int[0];
    if (entries.has("mrope_section")) {
      long[] given = entries.getLongs("mrope_section");
      sections = new int[given.length];
      for (int i = 0; i < given.length; i++) {
        sections[i] = Math.toIntExact(given[i]);
      }
    }
    int dimensions = (int) (headSize * partial);
    return new RotaryConfig(theta, dimensions, scaling(entries, config), sections);
  }

  /** How many numbers give a token's place. */
  int axes() {
    return Math.max(1, sections.length);
  }

  /** The tables' maker. */
  Rotary rotary() {
    Rotary plain = Rotary.of(dimensions, theta, scaling);
    return sections.length == 0 ? plain : plain.withSections(sections);
  }

  private static RotaryScaling scaling(JsonObject entries, JsonObject config) {
    String type = entries.getString("rope_type", entries.getString("type", "default"));
    return switch (type) {
      case "default", "mrope" -> new RotaryScaling.None();
      case "linear" -> new RotaryScaling.Linear(entries.getDouble("factor"));
      case "yarn" -> yarn(entries, config);
      case "llama3" ->
          new RotaryScaling.Llama3(
              entries.getDouble("factor"),
              entries.getDouble("low_freq_factor"),
              entries.getDouble("high_freq_factor"),
              entries.getDouble("original_max_position_embeddings"));
      default ->
          throw entries.wrong("rope_type", "one of default, linear, yarn, llama3, mrope", type);
    };
  }

  private static RotaryScaling yarn(JsonObject entries, JsonObject config) {
    double original =
        entries.getDouble(
            "original_max_position_embeddings", config.getDouble("max_position_embeddings", 0));
    double factor =
        entries.has("factor")
            ? entries.getDouble("factor")
            : config.getDouble("max_position_embeddings") / original;
    return new RotaryScaling.Yarn(
        factor,
        entries.getDouble("beta_fast", 32),
        entries.getDouble("beta_slow", 1),
        attentionFactor(entries, factor),
        original,
        entries.getBoolean("truncate", true));
  }

  /** The entry itself, or DeepSeek's ratio of two scales, or what the paper proposes. */
  private static double attentionFactor(JsonObject entries, double factor) {
    if (entries.has("attention_factor")) {
      return entries.getDouble("attention_factor");
    }
    if (entries.has("mscale") && entries.has("mscale_all_dim")) {
      return scaled(factor, entries.getDouble("mscale"))
          / scaled(factor, entries.getDouble("mscale_all_dim"));
    }
    return RotaryScaling.Yarn.defaultAttentionFactor(factor);
  }

  private static double scaled(double factor, double weight) {
    return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  }
}
