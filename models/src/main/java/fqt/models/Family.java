package fqt.models;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * The supported architectures: what the {@code model_type} of a {@code config.json} settles that
 * its other entries do not say.
 */
enum Family {
  QWEN2("qwen2", Bias.ALWAYS, false, false, false),
  QWEN2_MOE("qwen2_moe", Bias.QKV_ENTRY, false, false, true),
  QWEN3("qwen3", Bias.ATTENTION_ENTRY, true, false, false),
  QWEN3_MOE("qwen3_moe", Bias.ATTENTION_ENTRY, true, false, true),
  LLAMA("llama", Bias.ATTENTION_ENTRY, false, true, false),
  QWEN2_VL("qwen2_vl", Bias.ALWAYS, false, false, false),
  QWEN2_5_VL("qwen2_5_vl", Bias.ALWAYS, false, false, false);

  /** Where it stands whether the attention's projections have biases. */
  enum Bias {
    /** Queries, keys and values always have one, the output never. */
    ALWAYS,
    /** Entry {@code qkv_bias}, true if absent, for queries, keys and values. */
    QKV_ENTRY,
    /** Entry {@code attention_bias}, false if absent, for all four. */
    ATTENTION_ENTRY
  }

  final String modelType;
  final Bias bias;
  final boolean headNorms;
  final boolean mlpBias;
  final boolean sparse;

  /**
   * An architecture.
   *
   * @param bias biases of the attention
   * @param headNorms whether queries and keys are normed head by head
   * @param mlpBias whether entry {@code mlp_bias} counts
   * @param sparse whether layers may be mixtures of experts
   */
  Family(String modelType, Bias bias, boolean headNorms, boolean mlpBias, boolean sparse) {
    this.modelType = modelType;
    this.bias = bias;
    this.headNorms = headNorms;
    this.mlpBias = mlpBias;
    this.sparse = sparse;
  }

  /** The family of a model type. */
  static Optional<Family> of(String modelType) {
    return Arrays.stream(values()).filter(f -> f.modelType.equals(modelType)).findFirst();
  }

  /** Whether pictures can stand in the text. */
  boolean seesPictures() {
    return this == QWEN2_VL || this == QWEN2_5_VL;
  }

  /** All model types. */
  static List<String> modelTypes() {
    return Arrays.stream(values()).map(f -> f.modelType).toList();
  }
}
