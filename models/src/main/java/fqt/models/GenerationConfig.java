package fqt.models;

import fqt.io.Json;
import fqt.io.JsonObject;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/**
 * How a text is continued. A temperature of 0 always takes the likeliest token; otherwise tokens
 * are drawn, with the same seed the same ones.
 *
 * @param maxNewTokens where to stop at the latest
 * @param temperature divides the logits; 0 for greedy
 * @param topK draw only from so many likeliest tokens; 0 for all
 * @param topP draw only from the likeliest tokens that together reach this probability; 1 for all
 * @param repetitionPenalty divides positive and multiplies negative logits of tokens that occurred
 *     (Keskar et al. 2019); 1 for none
 * @param seed of the random draws
 * @param stopTokens tokens that end the text
 */
public record GenerationConfig(
    int maxNewTokens,
    double temperature,
    int topK,
    double topP,
    double repetitionPenalty,
    long seed,
    Set<Integer> stopTokens) {
  /** File name of the settings in a checkpoint. */
  public static final String FILE = "generation_config.json";

  /** Checks the ranges. */
  public GenerationConfig {
    require(maxNewTokens >= 0, "maximum of new tokens", maxNewTokens, "0 or more");
    require(temperature >= 0, "temperature", temperature, "0 or more");
    require(topK >= 0, "top-k", topK, "0 or more");
    require(topP > 0 && topP <= 1, "top-p", topP, "more than 0 and at most 1");
    require(repetitionPenalty > 0, "repetition penalty", repetitionPenalty, "more than 0");
    stopTokens = Set.copyOf(stopTokens);
  }

  private static void require(boolean holds, String what, Object value, String expected) {
    if (!holds) {
      throw new IllegalArgumentException(what + " is " + value + "; expected " + expected);
    }
  }

  /**
   * {@return settings that always take the likeliest token}
   *
   * @param maxNewTokens where to stop at the latest
   * @param stopTokens ids that end the text
   */
  public static GenerationConfig greedy(int maxNewTokens, Set<Integer> stopTokens) {
    return new GenerationConfig(maxNewTokens, 0, 0, 1, 1, 0, stopTokens);
  }

  /**
   * {@return what a checkpoint recommends in {@code generation_config.json}: its stop tokens, and
   * greedy unless {@code do_sample} is set} Without that file the stop tokens are those of {@code
   * config.json}.
   *
   * @param folder the checkpoint
   * @throws fqt.io.FileFormatException if an entry has a wrong type
   */
  public static GenerationConfig load(Path folder) {
    Path file = folder.resolve(FILE);
    boolean recommended = Files.exists(file);
    JsonObject entries = Json.readObject(recommended ? file : folder.resolve(ModelConfig.FILE));
    boolean sample = recommended && entries.getBoolean("do_sample", false);
    return new GenerationConfig(
        entries.getInt("max_new_tokens", 256),
        sample ? entries.getDouble("temperature", 1) : 0,
        sample ? entries.getInt("top_k", 50) : 0,
        sample ? entries.getDouble("top_p", 1) : 1,
        entries.getDouble("repetition_penalty", 1),
        0,
        stopTokens(entries));
  }

  private static Set<Integer> stopTokens(JsonObject entries) {
    String key = "eos_token_id";
    if (!entries.has(key)) {
      return Set.of();
    }
    LongStream ids =
        entries.values().get(key) instanceof Long one
            ? LongStream.of(one)
            : LongStream.of(entries.getLongs(key));
    return ids.mapToObj(Math::toIntExact).collect(Collectors.toSet());
  }

  /**
   * {@return the same with another limit}
   *
   * @param count where to stop at the latest
   */
  public GenerationConfig withMaxNewTokens(int count) {
    return new GenerationConfig(
        count, temperature, topK, topP, repetitionPenalty, seed, stopTokens);
  }

  /**
   * {@return the same with another temperature}
   *
   * @param value divides the logits; 0 for greedy
   */
  public GenerationConfig withTemperature(double value) {
    return new GenerationConfig(
        maxNewTokens, value, topK, topP, repetitionPenalty, seed, stopTokens);
  }

  /**
   * {@return the same with other limits of what is drawn from}
   *
   * @param k draw only from so many likeliest tokens; 0 for all
   * @param p draw only from the likeliest tokens that together reach this probability; 1 for all
   */
  public GenerationConfig withTop(int k, double p) {
    return new GenerationConfig(
        maxNewTokens, temperature, k, p, repetitionPenalty, seed, stopTokens);
  }

  /**
   * {@return the same with another penalty of repetitions}
   *
   * @param value as {@link #repetitionPenalty}; 1 for none
   */
  public GenerationConfig withRepetitionPenalty(double value) {
    return new GenerationConfig(maxNewTokens, temperature, topK, topP, value, seed, stopTokens);
  }

  /**
   * {@return the same with another seed}
   *
   * @param value of the random draws
   */
  public GenerationConfig withSeed(long value) {
    return new GenerationConfig(
        maxNewTokens, temperature, topK, topP, repetitionPenalty, value, stopTokens);
  }
}
