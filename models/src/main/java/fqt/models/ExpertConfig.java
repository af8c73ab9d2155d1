package fqt.models;

import fqt.io.JsonObject;
import fqt.nn.SparseMoe;
import java.util.Arrays;

/**
 * The mixture of experts that {@code config.json} describes.
 *
 * @param experts how many there are
 * @param routing how tokens choose
 * @param width hidden features of an expert
 * @param sharedWidth hidden features of the shared expert; 0 if there is none
 * @param step every so many layers are sparse
 * @param denseLayers layers that stay dense nevertheless
 */
public record ExpertConfig(
    int experts,
    SparseMoe.Routing routing,
    long width,
    long sharedWidth,
    int step,
    long[] denseLayers) {
  static ExpertConfig read(JsonObject config) {
    String count = config.has("num_experts") ? "num_experts" : "num_local_experts";
    return new ExpertConfig(
        config.getInt(count),
        new SparseMoe.Routing(
            config.getLong("num_experts_per_tok"), config.getBoolean("norm_topk_prob", false)),
        config.getLong("moe_intermediate_size"),
        config.getLong("shared_expert_intermediate_size", 0),
        config.getInt("decoder_sparse_step", 1),
        config.has("mlp_only_layers") ? config.getLongs("mlp_only_layers") : new long[0]);
  }

  /**
   * {@return whether a layer is a mixture of experts}
   *
   * @param layer which layer, from 0
   */
  public boolean sparse(int layer) {
    return experts > 0
        && (layer + 1) % step == 0
        && Arrays.stream(denseLayers).noneMatch(dense -> dense == layer);
  }
}
