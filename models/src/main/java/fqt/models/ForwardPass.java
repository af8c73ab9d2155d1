package fqt.models;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Runs whole models over batches of equally long sequences. */
final class ForwardPass {
  private ForwardPass() {}

  static CausalLm.Output run(CausalLm model, Tensor ids, Pictures pictures, boolean keepStates) {
    if (ids.rank() != 2) {
      throw new IllegalArgumentException("ids are " + ids + "; expected shape [sequences, tokens]");
    }
    long sequences = ids.dim(0);
    long tokens = ids.dim(1);
    try (Scope scope = Scope.open()) {
      Tensor flat = ids.reshape(-1);
      LayerArgs args = model.args(flat, pictures, bounds(sequences, tokens));
      Tensor hidden = model.embed(flat, pictures);
      List<Tensor> states = new ArrayList<>();
      if (keepStates) {
        for (Module layer : model.layers()) {
          states.add(scope.keep(batched(hidden, sequences)));
          hidden = layer.apply(hidden, args);
        }
      } else {
        hidden = layers(model, hidden, args);
      }
      Tensor normed = model.norm().apply(hidden, LayerArgs.NONE);
      if (keepStates) {
        states.add(scope.keep(batched(normed, sequences)));
      }
      Tensor logits = model.head().apply(normed, LayerArgs.NONE);
      return new CausalLm.Output(scope.keep(batched(logits, sequences)), states);
    }
  }

  static Tensor layers(CausalLm model, Tensor hidden, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor current = hidden;
      for (Module layer : model.layers()) {
        Tensor next = layer.apply(current, args);
        if (current.storage() != hidden.storage() && current.storage() != next.storage()) {
          current.storage().release();
        }
        current = next;
      }
      return scope.keep(current);
    }
  }

  private static long[] bounds(long sequences, long tokens) {
    long[] bounds = new long[Math.toIntExact(sequences + 1)];
    for (int i = 0; i < bounds.length; i++) {
      bounds[i] = i * tokens;
    }
    return bounds;
  }

  private static Tensor batched(Tensor rows, long sequences) {
    return rows.reshape(sequences, sequences == 0 ? 0 : rows.dim(0) / sequences, rows.dim(1));
  }
}
