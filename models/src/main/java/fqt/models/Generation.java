package fqt.models;

import fqt.nn.KvCache;
import fqt.nn.LayerArgs;
import fqt.tensor.AttentionMask;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Arrays;
import java.util.function.IntConsumer;

/** The loop that continues a text: the prompt in one pass, then one token at a time. */
final class Generation {
  private final CausalLm model;
  private final KvCache cache;
  private final Sampler sampler;
  private final int axes;
  private long cached;
  private long place;

  private Generation(CausalLm model, int[] prompt, GenerationConfig config) {
    this.model = model;
    this.cache = model.newCache(prompt.length + (long) config.maxNewTokens());
    this.sampler = new Sampler(config, model.config().text().vocabulary());
    this.axes = model.config().text().rotary().axes();
    Arrays.stream(prompt).forEach(sampler::saw);
  }

  static int[] run(
      CausalLm model,
      int[] prompt,
      Pictures pictures,
      GenerationConfig config,
      IntConsumer listener) {
    if (prompt.length == 0) {
      throw new IllegalArgumentException("the prompt has no tokens");
    }
    int[] made = new int[config.maxNewTokens()];
    int count = 0;
    try (Scope scope = Scope.open()) {
      Generation generation = new Generation(model, prompt, config);
      int[] next = prompt;
      while (count < made.length) {
        int token = generation.step(next, count == 0 ? pictures : null);
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

  /** Runs the model over tokens that are not cached yet and picks the one that follows them. */
  private int step(int[] tokens, Pictures pictures) {
    try (Scope scope = Scope.open()) {
      Tensor ids = Ops.to(Ops.of(tokens, tokens.length), model.device());
      TokenPlaces places =
          pictures == null
              ? TokenPlaces.ofText(place, tokens.length, axes)
              : model.places(ids, pictures, 0, tokens.length);
      AttentionMask mask = AttentionMask.causal(tokens.length, cached + tokens.length);
      LayerArgs args = model.args(places.positions(), mask, cache);
      Tensor hidden = model.runLayers(model.embed(ids, pictures), args);
      Tensor last = hidden.slice(0, tokens.length - 1L, tokens.length);
      cached += tokens.length;
      place = places.next();
      return sampler.next(Ops.to(model.finish(last), Device.CPU).reshape(-1));
    }
  }
}
