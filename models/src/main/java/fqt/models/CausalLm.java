package fqt.models;

import static java.lang.System.Logger.Level.DEBUG;

import fqt.io.TensorSource;
import fqt.nn.Embedding;
import fqt.nn.KvCache;
import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.nn.Rotary;
import fqt.tensor.AttentionMask;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.function.IntConsumer;

/**
 * A language model: embedding, decoder layers, final norm and head. On the CPU its weights are
 * views of the mapped checkpoint; a layer is loaded when it is first asked for and may be freed
 * again, so that a caller who goes through the layers one by one holds one at a time.
 *
 * <p>Hidden states of several sequences are packed into one matrix [tokens, features]; {@link
 * #args} says where each sequence begins. Not safe for several threads.
 *
 * {@snippet :
 * try (CausalLm model = CausalLm.load(Path.of("Qwen2-0.5B"), Device.CPU)) {
 *   Tensor hidden = model.embed(ids);
 *   LayerArgs args = model.args(0, ids.dim(0));
 *   for (Module layer : model.layers()) {
 *     hidden = layer.apply(hidden, args);
 *   }
 *   Tensor logits = model.finish(hidden);
 * }
 * }
 */
public final class CausalLm implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger("fqt.models");

  private final ModelConfig config;
  private final Device device;
  private final TensorSource source;
  private final boolean ownsSource;
  private final ModelBuilder builder;
  private final Rotary rotary;
  private final LayerList layers;
  private final VisionTower vision;
  private Ends ends;
  private volatile boolean frozen;

  private CausalLm(ModelConfig config, TensorSource source, Device device, boolean ownsSource) {
    this.config = config;
    this.device = device;
    this.source = source;
    this.ownsSource = ownsSource;
    this.rotary = config.text().rotary().rotary();
    Inventory inventory = new Inventory(source, config.isQuantized());
    new ModelBuilder(config, inventory, device).buildAll();
    inventory.requireAllUsed();
    Weights weights = new CheckpointWeights(source, device, config.quantization());
    this.builder = new ModelBuilder(config, weights, device);
    this.layers = new LayerList(config.text().layers(), this::loadLayer, !device.isHost());
    this.vision = builder.vision();
  }

  private Module loadLayer(int index) {
    Module layer = builder.layer(index);
    if (frozen) {
      layer.freeze();
    }
    return layer;
  }

  /** What stands before and behind the layers. */
  private record Ends(Embedding embedding, Module norm, Module head, Scope.Holding holding) {}

  private Ends ends() {
    if (ends == null) {
      try (Scope scope = Scope.open()) {
        Embedding embedding = builder.embedding();
        ends = new Ends(embedding, builder.norm(), builder.head(embedding), scope.handOver());
        if (frozen) {
          ends.head().freeze();
        }
      }
    }
    return ends;
  }

  /**
   * Opens a checkpoint: a folder with {@code config.json} and safetensors files, or the older
   * {@code pytorch_model.bin}.
   *
   * @param folder the checkpoint, in floating point or as {@code fqt quantize} wrote it
   * @param device where the model runs
   * @return the model, whose layers are read when first asked for
   * @throws fqt.io.FileFormatException if the architecture is not supported, an entry or a tensor
   *     is missing, has a wrong shape, or is one too many
   * @throws java.io.UncheckedIOException if a file cannot be read
   */
  public static CausalLm load(Path folder, Device device) {
    ModelConfig config = ModelConfig.read(folder);
    TensorSource tensors = TensorSource.open(folder);
    try {
      CausalLm model = new CausalLm(config, tensors, device, true);
      LOG.log(
          DEBUG,
          () ->
              "%s: %s, %d layers, %d tensors, on %s"
                  .formatted(
                      folder,
                      config.modelType(),
                      config.text().layers(),
                      tensors.names().size(),
                      device));
      return model;
    } catch (RuntimeException e) {
      tensors.close();
      throw e;
    }
  }

  /**
   * A model over tensors from anywhere; they must live as long as the model.
   *
   * @param config names, sizes and numbers of the parts
   * @param tensors the checkpoint's tensors, on the host
   * @param device where the model runs
   * @return a model that leaves {@code tensors} open when it is closed
   * @throws fqt.io.FileFormatException if a tensor is missing, has a wrong shape, or is one too
   *     many
   */
  public static CausalLm of(ModelConfig config, TensorSource tensors, Device device) {
    return new CausalLm(config, tensors, device, false);
  }

  /**
   * {@return the same model on the CPU, over the same tensors: views that cost nothing, for who
   * wants to know names and sizes of all layers without bringing them to the device} Close it
   * first.
   */
  public CausalLm outline() {
    return of(config, source, Device.CPU);
  }

  /**
   * Promises that the layers that are loaded from now on, and the head, will only be used: nobody
   * writes to their weights. The CPU then keeps weights packed that several batches need, within
   * the limit that {@code -Dfqt.cpu.kept} sets; results stay the same bits.
   */
  public void freeze() {
    frozen = true;
  }

  /** {@return what {@code config.json} says} */
  public ModelConfig config() {
    return config;
  }

  /** {@return where the model runs} */
  public Device device() {
    return device;
  }

  /** {@return the checkpoint's tensors} */
  public TensorSource tensors() {
    return source;
  }

  /**
   * {@return the decoder layers; each is loaded when first asked for and then stays the same
   * object}
   */
  public List<Module> layers() {
    return Collections.unmodifiableList(layers);
  }

  /**
   * {@return the path of a layer in the checkpoint, such as {@code model.layers.3}}
   *
   * @param index from 0 to the number of layers − 1
   */
  public String layerPrefix(int index) {
    return builder.layerPath(index);
  }

  /**
   * {@return the module at a path of the checkpoint, such as {@code model.layers.3.mlp.down_proj},
   * {@code visual.blocks.0.attn}, {@code model.norm} or {@code lm_head}}
   *
   * @param path names joined by dots
   * @throws NoSuchElementException if there is none
   */
  public Module module(String path) {
    return builder.find(this, path);
  }

  /**
   * A layer of this model as other tensors have it, such as those that were written after it had
   * been quantized; in the current scope, or views of those tensors.
   *
   * @param index which layer, from 0
   * @param tensors hold the layer under its path
   * @param quantization the {@code quantization_config} that says how its linears are stored
   * @return the layer on this model's device
   */
  public Module layer(int index, TensorSource tensors, Map<String, Object> quantization) {
    Weights weights = new CheckpointWeights(tensors, device, quantization);
    return new LayerBuilder(config.text(), weights).layer(index, layerPrefix(index));
  }

  /**
   * Frees a layer; whoever asks for it again gets it fresh from the checkpoint.
   *
   * @param layer which layer, from 0
   */
  public void release(int layer) {
    layers.release(layer);
  }

  /** Frees embedding, norm and head; whoever asks for one again gets it from the checkpoint. */
  public void releaseEnds() {
    if (ends != null) {
      ends.holding().close();
      ends = null;
    }
  }

  /**
   * {@return the hidden states before the first layer, F32 [tokens, hidden]}
   *
   * @param ids I32 [tokens], on the model's device
   */
  public Tensor embed(Tensor ids) {
    return ends().embedding().apply(ids, LayerArgs.NONE);
  }

  /** {@return the embedding table as a module} */
  public Module embedding() {
    return ends().embedding();
  }

  /** {@return the norm after the last layer} */
  public Module norm() {
    return ends().norm();
  }

  /** {@return the head: hidden states [tokens, hidden] to logits [tokens, vocabulary]} */
  public Module head() {
    return ends().head();
  }

  /** {@return what turns pictures into tokens, or null if the model sees none} */
  public VisionTower vision() {
    return vision;
  }

  /**
   * {@return the hidden states, before the first layer, of a text with pictures} They are F32
   * [tokens, hidden].
   *
   * @param ids I32 [tokens]
   * @param pictures those that the picture tokens stand for, or null
   * @throws IllegalArgumentException if picture tokens and pictures do not match
   */
  public Tensor embed(Tensor ids, Pictures pictures) {
    Tensor hidden = embed(ids);
    if (pictures != null) {
      try (Scope scope = Scope.open()) {
        Tensor seen = requireVision().forward(pictures.to(device));
        long[] host = Ops.to(ids, Device.CPU).toLongs();
        PictureText.replace(hidden, host, config.pictureTokens().picture(), seen);
      }
    }
    return hidden;
  }

  private VisionTower requireVision() {
    if (vision == null) {
      throw new IllegalArgumentException(
          "a model of type '%s' sees no pictures".formatted(config.modelType()));
    }
    return vision;
  }

  /**
   * {@return a prompt in which each picture token stands as often as its picture needs}
   *
   * @param prompt token ids with one picture token a picture
   * @param pictures in the order of their tokens
   */
  public int[] expand(int[] prompt, Pictures pictures) {
    int merged = requireVision().config().mergedPatches();
    return PictureText.expand(prompt, config.pictureTokens().picture(), pictures, merged);
  }

  /**
   * {@return the logits of hidden states, F32 [tokens, vocabulary]}
   *
   * @param hidden F32 [tokens, hidden], as they leave the last layer
   */
  public Tensor finish(Tensor hidden) {
    try (Scope scope = Scope.open()) {
      Tensor normed = norm().apply(hidden, LayerArgs.NONE);
      return scope.keep(head().apply(normed, LayerArgs.NONE));
    }
  }

  /**
   * {@return layer arguments for whole packed sequences without a cache}
   *
   * @param bounds start of each sequence, beginning with 0 and ending with the number of tokens
   */
  public LayerArgs args(long... bounds) {
    AttentionMask mask = AttentionMask.segments(true, bounds);
    long[] places = new long[Math.toIntExact(mask.queries())];
    for (int i = 0; i + 1 < bounds.length; i++) {
      for (long t = bounds[i]; t < bounds[i + 1]; t++) {
        places[(int) t] = t - bounds[i];
      }
    }
    long[][] positions = new long[config.text().rotary().axes()][];
    Arrays.fill(positions, places);
    return args(positions, mask, null);
  }

  /**
   * {@return layer arguments for the next tokens of one sequence}
   *
   * @param cache holds the {@code from} tokens before them, or null if {@code from} is 0
   * @param from place of the first of them in the sequence
   * @param tokens how many there are
   */
  public LayerArgs args(KvCache cache, long from, long tokens) {
    return args(
        TokenPlaces.ofText(from, Math.toIntExact(tokens), config.text().rotary().axes())
            .positions(),
        AttentionMask.causal(tokens, from + tokens),
        cache);
  }

  /**
   * {@return layer arguments for whole packed sequences with pictures}
   *
   * @param ids I32 [tokens]
   * @param pictures of all sequences, in order, or null
   * @param bounds start of each sequence, beginning with 0 and ending with the number of tokens
   * @throws IllegalArgumentException if picture tokens and pictures do not match
   */
  public LayerArgs args(Tensor ids, Pictures pictures, long... bounds) {
    return pictures == null
        ? args(bounds)
        : args(
            places(ids, pictures, bounds).positions(), AttentionMask.segments(true, bounds), null);
  }

  TokenPlaces places(Tensor ids, Pictures pictures, long... bounds) {
    int merge = requireVision().config().merge();
    long[] tokens = Ops.to(ids, Device.CPU).toLongs();
    return TokenPlaces.of(
        tokens, bounds, config.pictureTokens().picture(), pictures.grids(), merge);
  }

  /**
   * {@return layer arguments for tokens placed along several axes}
   *
   * @param positions {@code positions[axis][token]}, as many axes as the rotary embedding has
   * @param mask which keys each token sees
   * @param cache keys and values of earlier tokens, or null
   */
  public LayerArgs args(long[][] positions, AttentionMask mask, KvCache cache) {
    Rotary.Tables tables = rotary.tables(device, positions);
    return new LayerArgs(tables.cos(), tables.sin(), mask, cache);
  }

  /**
   * {@return an empty cache for one sequence, in the current scope}
   *
   * @param capacity how many tokens it holds at most, those of the prompt included
   */
  public KvCache newCache(long capacity) {
    var heads = config.text().heads().getFirst();
    return new KvCache(device, layers.size(), capacity, heads.keyValues(), heads.size());
  }

  /**
   * What a forward pass gives.
   *
   * @param logits F32 [sequences, tokens, vocabulary]
   * @param hiddenStates F32 [sequences, tokens, hidden] each: before the first layer, after each,
   *     the last one after the final norm; empty unless asked for
   */
  public record Output(Tensor logits, List<Tensor> hiddenStates) {}

  /**
   * {@return the logits, F32 [sequences, tokens, vocabulary]}
   *
   * @param ids I32 [sequences, tokens]
   */
  public Tensor forward(Tensor ids) {
    return forward(ids, false).logits();
  }

  /**
   * {@return the logits and, if asked for, the hidden states}
   *
   * @param ids I32 [sequences, tokens]
   * @param hiddenStates whether those before and after each layer are kept too
   */
  public Output forward(Tensor ids, boolean hiddenStates) {
    return forward(ids, null, hiddenStates);
  }

  /**
   * {@return the logits and, if asked for, the hidden states of texts with pictures}
   *
   * @param ids I32 [sequences, tokens]
   * @param pictures in the order of their tokens, or null
   * @param hiddenStates whether those before and after each layer are kept too
   */
  public Output forward(Tensor ids, Pictures pictures, boolean hiddenStates) {
    return ForwardPass.run(this, ids, pictures, hiddenStates);
  }

  /**
   * {@return hidden states after the last layer, before the final norm; earlier ones are freed}
   *
   * @param hidden F32 [tokens, hidden], left alone
   * @param args positions and mask of the tokens, as from {@link #args(long...)}
   */
  public Tensor runLayers(Tensor hidden, LayerArgs args) {
    return ForwardPass.layers(this, hidden, args);
  }

  /**
   * Continues a prompt token by token with a key-value cache.
   *
   * @param prompt token ids, at least one
   * @param generation when to stop and how to draw
   * @param listener told each new token as soon as it is known
   * @return the new tokens, a stop token included if one ended the text
   */
  public int[] generate(int[] prompt, GenerationConfig generation, IntConsumer listener) {
    return generate(prompt, null, generation, listener);
  }

  /**
   * Continues a prompt with pictures.
   *
   * @param prompt token ids in which picture tokens stand as often as {@link #expand} says
   * @param pictures in the order of their tokens, or null
   * @param generation when to stop and how to draw
   * @param listener told each new token as soon as it is known
   * @return the new tokens, a stop token included if one ended the text
   */
  public int[] generate(
      int[] prompt, Pictures pictures, GenerationConfig generation, IntConsumer listener) {
    return Generation.run(this, prompt, pictures, generation, listener);
  }

  /** Frees the layers and closes the checkpoint if {@link #load} opened it. */
  @Override
  public void close() {
    layers.releaseAll();
    if (vision != null) {
      vision.close();
    }
    releaseEnds();
    if (ownsSource) {
      source.close();
    }
  }
}
