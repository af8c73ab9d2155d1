package fqt.models;

import fqt.io.JsonObject;
import fqt.io.TensorSource;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.Set;

/** A checkpoint of random weights for any configuration, with the tensors the builders ask for. */
final class RandomCheckpoint implements TensorSource, Weights {
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private final Random random;

  private RandomCheckpoint(long seed) {
    random = new Random(seed);
  }

  static RandomCheckpoint of(ModelConfig config, long seed) {
    RandomCheckpoint checkpoint = new RandomCheckpoint(seed);
    TextConfig text = config.text();
    LayerBuilder builder = new LayerBuilder(text, checkpoint);
    for (int i = 0; i < text.layers(); i++) {
      builder.layer(i, "model.layers." + i);
    }
    checkpoint.tensor("model.embed_tokens.weight", text.vocabulary(), text.hidden());
    builder.norm("model.norm", text.hidden());
    if (!text.tied()) {
      checkpoint.linear("lm_head", text.hidden(), text.vocabulary(), false);
    }
    return checkpoint;
  }

  /** A model of random weights. */
  static CausalLm model(ModelConfig config, long seed) {
    return CausalLm.of(config, of(config, seed), Device.CPU);
  }

  /** A small configuration; pairs of names and values add to it or replace its entries. */
  static ModelConfig config(String modelType, Object... changes) {
    Map<String, Object> entries = new LinkedHashMap<>();
    entries.put("model_type", modelType);
    entries.put("hidden_size", 24L);
    entries.put("intermediate_size", 40L);
    entries.put("num_hidden_layers", 2L);
    entries.put("num_attention_heads", 6L);
    entries.put("num_key_value_heads", 2L);
    entries.put("head_dim", 6L);
    entries.put("vocab_size", 50L);
    for (int i = 0; i < changes.length; i += 2) {
      entries.put((String) changes[i], changes[i + 1]);
    }
    return ModelConfig.of(new JsonObject(entries, "test"));
  }

  @Override
  public Tensor tensor(String name, long... shape) {
    return tensors.computeIfAbsent(name, unused -> random(name, shape));
  }

  /** Norm weights around one, the rest around zero. */
  private Tensor random(String name, long... shape) {
    boolean norm = name.contains("norm") && name.endsWith(".weight");
    long count = 1;
    for (long dim : shape) {
      count *= dim;
    }
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (norm ? 1 : 0) + 0.3f * (float) random.nextGaussian();
    }
    return Ops.of(values, shape);
  }

  @Override
  public Module linear(String prefix, long inputs, long outputs, boolean bias) {
    return new Linear(
        tensor(prefix + ".weight", outputs, inputs),
        bias ? tensor(prefix + ".bias", outputs) : null);
  }

  /** Adds a tensor, or replaces it. */
  void put(String name, Tensor tensor) {
    tensors.put(name, tensor);
  }

  /** Takes a tensor away. */
  void remove(String name) {
    tensors.remove(name);
  }

  @Override
  public Set<String> names() {
    return tensors.keySet();
  }

  @Override
  public boolean has(String name) {
    return tensors.containsKey(name);
  }

  @Override
  public Tensor get(String name) {
    if (!has(name)) {
      throw new NoSuchElementException("no tensor " + name);
    }
    return tensors.get(name);
  }
}
