package fqt.models;

import fqt.nn.Embedding;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.tensor.Device;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;

/**
 * Puts the parts of a model together and knows what they are called in the checkpoint. New
 * checkpoints with vision call the language model {@code model.language_model} and the tower {@code
 * model.visual}; older ones say {@code model} and {@code visual}.
 */
record ModelBuilder(ModelConfig config, Weights weights, Device device) {
  private static final String NAMED_TEXT = "model.language_model.";
  private static final String NAMED_VISION = "model.visual.";

  /** What the names of the language model begin with. */
  String textPrefix() {
    return weights.has(NAMED_TEXT + "embed_tokens.weight") ? NAMED_TEXT : "model.";
  }

  private String visionPrefix() {
    return weights.has(NAMED_VISION + "patch_embed.proj.weight") ? NAMED_VISION : "visual.";
  }

  /** Path of a decoder layer. */
  String layerPath(int index) {
    return textPrefix() + "layers." + index;
  }

  Module layer(int index) {
    return layers().layer(index, layerPath(index));
  }

  Embedding embedding() {
    TextConfig text = config.text();
    return new Embedding(
        weights.tensor(textPrefix() + "embed_tokens.weight", text.vocabulary(), text.hidden()));
  }

  Module norm() {
    return layers().norm(textPrefix() + "norm", config.text().hidden());
  }

  /** The head; of a tied model it is the embedding table. */
  Module head(Embedding embedding) {
    return config.text().tied() ? new Linear(embedding.weight(), null) : storedHead();
  }

  private Module storedHead() {
    return weights.linear("lm_head", config.text().hidden(), config.text().vocabulary(), false);
  }

  /** The vision tower, or null. */
  VisionTower vision() {
    return config.vision() == null
        ? null
        : new VisionTower(config.vision(), weights, visionPrefix(), device);
  }

  private LayerBuilder layers() {
    return new LayerBuilder(config.text(), weights);
  }

  /** The module of a model at a path. */
  Module find(CausalLm model, String path) {
    String layers = textPrefix() + "layers.";
    String blocks = visionPrefix() + "blocks.";
    if (path.startsWith(layers)) {
      return inList(model.layers(), path, layers.length());
    }
    if (model.vision() != null && path.startsWith(blocks)) {
      return inList(model.vision().blocks(), path, blocks.length());
    }
    Map<String, Module> others = new LinkedHashMap<>();
    others.put(textPrefix() + "embed_tokens", model.embedding());
    others.put(textPrefix() + "norm", model.norm());
    others.put("lm_head", model.head());
    if (model.vision() != null) {
      others.put(visionPrefix() + "patch_embed.proj", model.vision().patchEmbedding());
      others.put(visionPrefix() + "merger", model.vision().merger());
    }
    for (Map.Entry<String, Module> other : others.entrySet()) {
      if (path.equals(other.getKey())) {
        return other.getValue();
      }
      if (path.startsWith(other.getKey() + ".")) {
        return other.getValue().find(path.substring(other.getKey().length() + 1));
      }
    }
    throw new NoSuchElementException(
        "no module '%s'; there are %s0 and what is below it, and %s"
            .formatted(path, layers, others.keySet()));
  }

  /** A module below an entry of a list; the path's number begins at the given character. */
  private static Module inList(List<Module> modules, String path, int number) {
    int dot = path.indexOf('.', number);
    String index = dot < 0 ? path.substring(number) : path.substring(number, dot);
    if (!index.matches("\\d{1,6}") || Integer.parseInt(index) >= modules.size()) {
      throw new NoSuchElementException(
          "no module '%s'; the last number there is %d".formatted(path, modules.size() - 1));
    }
    Module module = modules.get(Integer.parseInt(index));
    return dot < 0 ? module : module.find(path.substring(dot + 1));
  }

  /** Asks for every part once. Tied models may store their head nevertheless. */
  void buildAll() {
    for (int i = 0; i < config.text().layers(); i++) {
      layer(i);
    }
    Embedding embedding = embedding();
    norm();
    head(embedding);
    if (config.text().tied() && weights.has("lm_head.weight")) {
      storedHead();
    }
    VisionTower tower = vision();
    if (tower != null) {
      for (int i = 0; i < config.vision().layers(); i++) {
        tower.blocks().get(i);
      }
      tower.close();
    }
  }
}
