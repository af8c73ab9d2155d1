package fqt.bench;

import fqt.io.TensorSource;
import fqt.models.TextConfig;
import fqt.nn.Attention;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;

/** The tensors of a tied Qwen2 checkpoint, BF16 random numbers. */
final class RandomQwen2 implements TensorSource {
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private final Random random = new Random(1);

  RandomQwen2(TextConfig config) {
    long hidden = config.hidden();
    add("model.embed_tokens.weight", config.vocabulary(), hidden);
    add("model.norm.weight", hidden);
    for (int i = 0; i < config.layers(); i++) {
      String layer = "model.layers." + i;
      Attention.Heads heads = config.heads().get(i);
      long inner = heads.queries() * heads.size();
      long narrow = heads.keyValues() * heads.size();
      add(layer + ".input_layernorm.weight", hidden);
      add(layer + ".post_attention_layernorm.weight", hidden);
      projection(layer + ".self_attn.q_proj", inner, hidden);
      projection(layer + ".self_attn.k_proj", narrow, hidden);
      projection(layer + ".self_attn.v_proj", narrow, hidden);
      add(layer + ".self_attn.o_proj.weight", hidden, inner);
      add(layer + ".mlp.gate_proj.weight", config.width(), hidden);
      add(layer + ".mlp.up_proj.weight", config.width(), hidden);
      add(layer + ".mlp.down_proj.weight", hidden, config.width());
    }
  }

  private void projection(String prefix, long outputs, long inputs) {
    add(prefix + ".weight", outputs, inputs);
    add(prefix + ".bias", outputs);
  }

  private void add(String name, long... shape) {
    long count = 1;
    for (long dim : shape) {
      count *= dim;
    }
    float[] values = new float[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() / 32 + (shape.length == 1 ? 1 : 0);
    }
    tensors.put(name, Ops.to(Ops.of(values, shape), DType.BF16));
  }

  @Override
  public Set<String> names() {
    return tensors.keySet();
  }

  @Override
  public Tensor get(String name) {
    return tensors.get(name);
  }
}
