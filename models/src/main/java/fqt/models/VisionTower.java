package fqt.models;

import fqt.io.TensorSource;
import fqt.nn.GatedMlp;
import fqt.nn.LayerArgs;
import fqt.nn.LayerNorm;
import fqt.nn.Linear;
import fqt.nn.Module;
import fqt.nn.RmsNorm;
import fqt.nn.Rotary;
import fqt.nn.RotaryScaling;
import fqt.tensor.Device;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * The part of a Qwen-VL model that turns pictures into tokens: patches are embedded, run through
 * blocks of attention, and joined square by square (Wang et al. 2024; Bai et al. 2025).
 *
 * {@snippet :
 * Tensor hidden = tower.embed(pictures);
 * for (int i = 0; i < tower.blocks().size(); i++) {
 *   hidden = tower.blocks().get(i).apply(hidden, tower.args(pictures, i));
 * }
 * Tensor tokens = tower.merge(hidden, pictures);
 * }
 */
public final class VisionTower {
  private final VisionConfig config;
  private final String prefix;
  private final Device device;
  private final Rotary rotary;
  private final LayerList blocks;
  private final Module patchEmbedding;
  private final Module merger;
  private final Scope.Holding holding;

  VisionTower(VisionConfig config, Weights weights, String prefix, Device device) {
    this.config = config;
    this.prefix = prefix;
    this.device = device;
    int half = Math.toIntExact(config.hidden() / config.heads() / 2);
    this.rotary = Rotary.of(half, config.theta(), new RotaryScaling.None()).repeated(2);
    this.blocks = new LayerList(config.layers(), i -> block(weights, i), !device.isHost());
    try (Scope scope = Scope.open()) {
      this.patchEmbedding = patchEmbedding(weights);
      this.merger = merger(weights);
      this.holding = scope.handOver();
    }
  }

  /** The convolution over a patch is a linear over its pixels: its strides are its sizes. */
  private Module patchEmbedding(Weights weights) {
    Tensor kernel =
        weights.tensor(
            prefix + "patch_embed.proj.weight",
            config.hidden(),
            config.channels(),
            config.temporalPatch(),
            config.patch(),
            config.patch());
    return new Linear(kernel.reshape(config.hidden(), config.patchFeatures()), null);
  }

  private Module block(Weights weights, int index) {
    String name = blockPrefix(index);
    long hidden = config.hidden();
    return new VisionBlock(
        hidden,
        norm(weights, name + ".norm1"),
        new VisionAttention(
            config.heads(),
            hidden,
            weights.linear(name + ".attn.qkv", hidden, 3 * hidden, true),
            weights.linear(name + ".attn.proj", hidden, hidden, true)),
        norm(weights, name + ".norm2"),
        mlp(weights, name + ".mlp"));
  }

  private Module mlp(Weights weights, String name) {
    long hidden = config.hidden();
    long width = config.width();
    if (!config.gated()) {
      return new PlainMlp(
          config.activation(),
          weights.linear(name + ".fc1", hidden, width, true),
          weights.linear(name + ".fc2", width, hidden, true));
    }
    return new GatedMlp(
        config.activation(),
        width,
        weights.linear(name + ".gate_proj", hidden, width, true),
        weights.linear(name + ".up_proj", hidden, width, true),
        weights.linear(name + ".down_proj", width, hidden, true));
  }

  private Module norm(Weights weights, String name) {
    Tensor weight = weights.tensor(name + ".weight", config.hidden());
    return config.gated()
        ? new RmsNorm(weight, VisionConfig.EPS)
        : new LayerNorm(weight, weights.tensor(name + ".bias", config.hidden()), VisionConfig.EPS);
  }

  private Module merger(Weights weights) {
    long joined = config.hidden() * config.mergedPatches();
    return new PatchMerger(
        joined,
        norm(weights, prefix + "merger.ln_q"),
        weights.linear(prefix + "merger.mlp.0", joined, joined, true),
        weights.linear(prefix + "merger.mlp.2", joined, config.output(), true));
  }

  /** {@return what {@code config.json} says} */
  public VisionConfig config() {
    return config;
  }

  /** {@return the blocks; each is loaded when first asked for and then stays the same object} */
  public List<Module> blocks() {
    return Collections.unmodifiableList(blocks);
  }

  /** {@return what the paths of the tower's modules begin with, such as {@code visual.}} */
  public String prefix() {
    return prefix;
  }

  /**
   * {@return the path of a block in the checkpoint, such as {@code visual.blocks.3}}
   *
   * @param index from 0 to the number of blocks − 1
   */
  public String blockPrefix(int index) {
    return prefix + "blocks." + index;
  }

  /** {@return the path of {@link #merger} in the checkpoint} */
  public String mergerPrefix() {
    return prefix + "merger";
  }

  /**
   * A block of this tower as other tensors have it, such as those that were written after it had
   * been quantized; in the current scope, or views of those tensors.
   *
   * @param index which block, from 0
   * @param tensors hold the block under its path
   * @param quantization the {@code quantization_config} that says how its linears are stored
   * @return the block on this tower's device
   */
  public Module block(int index, TensorSource tensors, Map<String, Object> quantization) {
    return block(new CheckpointWeights(tensors, device, quantization), index);
  }

  /**
   * Frees a block; whoever asks for it again gets it fresh from the checkpoint.
   *
   * @param block which block, from 0
   */
  public void release(int block) {
    blocks.release(block);
  }

  /** {@return the linear over a patch's pixels, {@code patch_embed.proj}} */
  public Module patchEmbedding() {
    return patchEmbedding;
  }

  /** {@return what joins squares of patches into tokens, {@code merger}} */
  public Module merger() {
    return merger;
  }

  /**
   * {@return hidden states F32 [patches, hidden] before the first block, in the order of the
   * windows}
   *
   * @param pictures on the tower's device
   */
  public Tensor embed(Pictures pictures) {
    try (Scope scope = Scope.open()) {
      Tensor hidden = patchEmbedding.apply(pictures.pixels(), LayerArgs.NONE);
      Tensor squares = hidden.reshape(-1, config.hidden() * config.mergedPatches());
      Tensor arranged = PatchOrder.of(config, pictures.grids()).arrange(squares);
      return scope.keep(arranged.reshape(-1, config.hidden()));
    }
  }

  /**
   * {@return arguments of one block, whose mask is of windows or of whole frames}
   *
   * @param pictures those whose patches run
   * @param block which block, from 0
   */
  public LayerArgs args(Pictures pictures, int block) {
    return args(PatchOrder.of(config, pictures.grids())).get(config.windowed(block) ? 1 : 0);
  }

  /** Arguments of blocks that see whole frames, and of those that see windows. */
  private List<LayerArgs> args(PatchOrder order) {
    Rotary.Tables tables = rotary.tables(device, order.rows(), order.columns());
    LayerArgs whole = new LayerArgs(tables.cos(), tables.sin(), order.frames(), null);
    return List.of(whole, whole.withMask(order.windows()));
  }

  /**
   * {@return picture tokens F32 [squares, output], in the order of the pictures}
   *
   * @param hidden F32 [patches, hidden], as they leave the last block
   * @param pictures those whose patches ran
   */
  public Tensor merge(Tensor hidden, Pictures pictures) {
    try (Scope scope = Scope.open()) {
      Tensor merged = merger.apply(hidden, LayerArgs.NONE);
      return scope.keep(PatchOrder.of(config, pictures.grids()).restore(merged));
    }
  }

  /**
   * {@return the tokens of whole pictures, F32 [squares, output]}
   *
   * @param pictures on the tower's device
   */
  public Tensor forward(Pictures pictures) {
    try (Scope scope = Scope.open()) {
      Tensor hidden = embed(pictures);
      List<LayerArgs> args = args(PatchOrder.of(config, pictures.grids()));
      for (int i = 0; i < blocks.size(); i++) {
        Tensor next = blocks.get(i).apply(hidden, args.get(config.windowed(i) ? 1 : 0));
        hidden.storage().release();
        hidden = next;
      }
      return scope.keep(merge(hidden, pictures));
    }
  }

  void close() {
    blocks.releaseAll();
    holding.close();
  }
}
