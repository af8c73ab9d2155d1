package fqt.models;

import fqt.io.JsonObject;
import fqt.nn.Attention;
import java.util.ArrayList;
import java.util.List;

/** Reads how the attention of each layer is cut into heads, and how far back it looks. */
final class LayerHeads {
  private LayerHeads() {}

  static List<Attention.Heads> read(Family family, JsonObject config, long hidden, int layers) {
    if (layers < 1) {
      throw config.wrong("num_hidden_layers", "at least 1", (long) layers);
    }
    long queries = config.getLong("num_attention_heads");
    long keyValues = config.getLong("num_key_value_heads", queries);
    if (queries < 1 || keyValues < 1 || queries % keyValues != 0) {
      throw config.wrong("num_key_value_heads", "a divisor of " + queries, keyValues);
    }
    long size = config.getLong("head_dim", defaultSize(family, hidden, queries));
    List<Attention.Heads> heads = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      heads.add(
          new Attention.Heads(queries, keyValues, size, window(family, config, layers, layer)));
    }
    return List.copyOf(heads);
  }

  /** Qwen3 has heads of 128 where nothing is said; the others share out the hidden state. */
  private static long defaultSize(Family family, long hidden, long queries) {
    return family == Family.QWEN3 ? 128 : hidden / queries;
  }

  private static long window(Family family, JsonObject config, int layers, int layer) {
    long window = config.getLong("sliding_window", 0);
    if (window == 0 || !config.getBoolean("use_sliding_window", false) || family == Family.LLAMA) {
      return 0;
    }
    if (config.has("layer_types")) {
      List<String> types = config.getStrings("layer_types");
      if (types.size() != layers) {
        throw config.wrong("layer_types", layers + " entries", types.size());
      }
      return types.get(layer).equals("sliding_attention") ? window : 0;
    }
    boolean everywhere = family == Family.QWEN3_MOE;
    return everywhere || layer >= config.getInt("max_window_layers", 28) ? window : 0;
  }
}
