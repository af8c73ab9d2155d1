package fqt.models;

import fqt.nn.KvCache;
import fqt.nn.LayerArgs;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Arrays;
import java.util.function.IntConsumer;

/** The loop that continues a text: the prompt in one pass, then one token at a time. */
final class Generation {
  private Generation() {}

  static int[] run(CausalLm model, int[] prompt, GenerationConfig config, IntConsumer listener) {
    if (prompt.length == 0) {
      throw new IllegalArgumentException("the prompt has no tokens");
    }
    int[] made = new int[config.maxNewTokens()];
    int count = 0;
    try (Scope scope = Scope.open()) {
      KvCache cache = model.newCache(prompt.length + (long) config.maxNewTokens());
      Sampler sampler = new Sampler(config, model.config().text().vocabulary());
      Arrays.stream(prompt).forEach(sampler::saw);
      int[] next = prompt;
      long from = 0;
      while (count < made.length) {
        int token = step(model, next, from, cache, sampler);
        from += next.length;
        made[count++] = token;
        listener.accept(token);
        if (config.stopTokens().contains(token)) {
          break;
        }
        next = new int[] {token};
      }
    }
    return Arrays.copyOf(made, count);
  }

  private static int step(CausalLm model, int[] tokens, long from, KvCache cache, Sampler sampler) {
    try (Scope scope = Scope.open()) {
      Tensor ids = Ops.to(Ops.of(tokens, tokens.length), model.device());
      LayerArgs args = model.args(cache, from, tokens.length);
      Tensor hidden = model.runLayers(model.embed(ids), args);
      Tensor last = hidden.slice(0, tokens.length - 1L, tokens.length);
      return sampler.next(Ops.to(model.finish(last), Device.CPU).reshape(-1));
    }
  }
}
