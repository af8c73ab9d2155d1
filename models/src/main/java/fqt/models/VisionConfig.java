package fqt.models;

import fqt.io.JsonObject;
import fqt.tensor.UnaryOp;
import java.util.Arrays;

/**
 * The vision tower that {@code config.json} describes.
 *
 * @param layers number of blocks
 * @param hidden size of a patch's hidden state
 * @param heads attention heads
 * @param width hidden features of the feed-forward blocks
 * @param output features of a picture token: the language model's hidden size
 * @param channels colours of a pixel
 * @param patch pixels along a side of a patch
 * @param temporalPatch frames in a patch
 * @param merge patches along a side of the square that becomes one token
 * @param window patches along a side of an attention window; 0 if all blocks see whole pictures
 * @param fullBlocks blocks that see whole pictures although there are windows
 * @param gated whether norms and feed-forward blocks are those of Qwen2.5-VL
 * @param activation of the feed-forward blocks
 * @param theta base of the rotary frequencies
 */
public record VisionConfig(
    int layers,
    long hidden,
    long heads,
    long width,
    long output,
    long channels,
    int patch,
    int temporalPatch,
    int merge,
    int window,
    long[] fullBlocks,
    boolean gated,
    UnaryOp activation,
    double theta) {
  /** Both towers norm with this. */
  static final float EPS = 1e-6f;

  static VisionConfig read(Family family, JsonObject config) {
    boolean gated = family == Family.QWEN2_5_VL;
    int patch = config.getInt("patch_size", 14);
    long hidden = config.getLong(gated ? "hidden_size" : "embed_dim");
    return new VisionConfig(
        config.getInt("depth"),
        hidden,
        config.getLong("num_heads"),
        gated
            ? config.getLong("intermediate_size")
            : Math.round(hidden * config.getDouble("mlp_ratio", 4)),
        config.getLong(gated ? "out_hidden_size" : "hidden_size"),
        config.getLong("in_channels", config.getLong("in_chans", 3)),
        patch,
        config.getInt("temporal_patch_size", 2),
        config.getInt("spatial_merge_size", 2),
        gated ? config.getInt("window_size", 112) / patch : 0,
        config.has("fullatt_block_indexes")
            ? config.getLongs("fullatt_block_indexes")
            : new long[] {7, 15, 23, 31},
        gated,
        TextConfig.activation(config, gated ? "silu" : "quick_gelu"),
        config.getObjectOrEmpty("rope_parameters").getDouble("rope_theta", 10000));
  }

  /** {@return how many numbers a patch has: pixels over channels and frames} */
  public long patchFeatures() {
    return channels * temporalPatch * patch * patch;
  }

  /** {@return how many patches become one token} */
  public int mergedPatches() {
    return merge * merge;
  }

  /**
   * {@return whether a block sees only windows}
   *
   * @param block which block, from 0
   */
  public boolean windowed(int block) {
    return window > 0 && Arrays.stream(fullBlocks).noneMatch(full -> full == block);
  }
}
