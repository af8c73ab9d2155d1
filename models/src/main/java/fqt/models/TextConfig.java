package fqt.models;

import fqt.io.JsonObject;
import fqt.nn.Attention;
import fqt.tensor.UnaryOp;
import java.util.List;

/**
 * The language model that {@code config.json} describes.
 *
 * @param hidden size of the hidden state
 * @param vocabulary rows of the embedding table
 * @param layers number of decoder layers
 * @param width hidden features of a dense feed-forward block
 * @param heads how attention is cut into heads, one entry a layer
 * @param inputBias whether queries, keys and values have biases
 * @param outputBias whether the attention's output has one
 * @param mlpBias whether the feed-forward linears have biases
 * @param headNorms whether queries and keys are normed head by head
 * @param activation of the feed-forward blocks
 * @param eps of the norms
 * @param tied whether the head is the embedding table
 * @param rotary position embedding
 * @param experts mixture of experts, or null
 * @param maxPositions longest text the model was made for
 */
public record TextConfig(
    long hidden,
    long vocabulary,
    int layers,
    long width,
    List<Attention.Heads> heads,
    boolean inputBias,
    boolean outputBias,
    boolean mlpBias,
    boolean headNorms,
    UnaryOp activation,
    float eps,
    boolean tied,
    RotaryConfig rotary,
    ExpertConfig experts,
    long maxPositions) {

  static TextConfig read(Family family, JsonObject config) {
    long hidden = config.getLong("hidden_size");
    int layers = config.getInt("num_hidden_layers");
    List<Attention.Heads> heads = LayerHeads.read(family, config, hidden, layers);
    boolean attentionBias = config.getBoolean("attention_bias", false);
    return new TextConfig(
        hidden,
        config.getLong("vocab_size"),
        layers,
        config.getLong("intermediate_size"),
        heads,
        switch (family.bias) {
          case ALWAYS -> true;
          case QKV_ENTRY -> config.getBoolean("qkv_bias", true);
          case ATTENTION_ENTRY -> attentionBias;
        },
        family.bias == Family.Bias.ATTENTION_ENTRY && attentionBias,
        family.mlpBias && config.getBoolean("mlp_bias", false),
        family.headNorms,
        activation(config, "silu"),
        (float) config.getDouble("rms_norm_eps", 1e-6),
        config.getBoolean("tie_word_embeddings", false),
        RotaryConfig.read(config, heads.getFirst().size()),
        family.sparse ? ExpertConfig.read(config) : null,
        config.getLong("max_position_embeddings", 0));
  }

  /** The activation under {@code hidden_act}. */
  static UnaryOp activation(JsonObject config, String absent) {
    String name = config.getString("hidden_act", absent);
    return switch (name) {
      case "silu", "swish" -> UnaryOp.SILU;
      case "gelu" -> UnaryOp.GELU;
      case "gelu_new", "gelu_pytorch_tanh" -> UnaryOp.GELU_TANH;
      case "quick_gelu" -> UnaryOp.QUICK_GELU;
      case "relu" -> UnaryOp.RELU;
      default ->
          throw config.wrong(
              "hidden_act",
              "one of silu, gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu",
              name);
    };
  }

  /**
   * {@return whether a layer is a mixture of experts}
   *
   * @param layer which layer, from 0
   */
  public boolean sparse(int layer) {
    return experts != null && experts.sparse(layer);
  }
}
