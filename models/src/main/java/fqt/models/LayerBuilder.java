package fqt.models;

import fqt.nn.Attention;
import fqt.nn.DecoderLayer;
import fqt.nn.GatedMlp;
import fqt.nn.Module;
import fqt.nn.RmsNorm;
import fqt.nn.SparseMoe;
import java.util.ArrayList;
import java.util.List;

/** Puts a decoder layer together from its configuration and its weights. */
record LayerBuilder(TextConfig config, Weights weights) {
  /** The layer of the given index, whose names start with the prefix. */
  DecoderLayer layer(int index, String prefix) {
    return new DecoderLayer(
        config.hidden(),
        norm(prefix + ".input_layernorm", config.hidden()),
        attention(config.heads().get(index), prefix + ".self_attn"),
        norm(prefix + ".post_attention_layernorm", config.hidden()),
        config.sparse(index) ? experts(prefix + ".mlp") : mlp(prefix + ".mlp", config.width()));
  }

  RmsNorm norm(String prefix, long features) {
    return new RmsNorm(weights.tensor(prefix + ".weight", features), config.eps());
  }

  private Attention attention(Attention.Heads heads, String prefix) {
    long hidden = config.hidden();
    long inner = heads.queries() * heads.size();
    long narrow = heads.keyValues() * heads.size();
    boolean bias = config.inputBias();
    return new Attention(
        heads,
        new Attention.Parts(
            weights.linear(prefix + ".q_proj", hidden, inner, bias),
            weights.linear(prefix + ".k_proj", hidden, narrow, bias),
            weights.linear(prefix + ".v_proj", hidden, narrow, bias),
            weights.linear(prefix + ".o_proj", inner, hidden, config.outputBias()),
            config.headNorms() ? norm(prefix + ".q_norm", heads.size()) : null,
            config.headNorms() ? norm(prefix + ".k_norm", heads.size()) : null));
  }

  private GatedMlp mlp(String prefix, long width) {
    long hidden = config.hidden();
    boolean bias = config.mlpBias();
    return new GatedMlp(
        config.activation(),
        width,
        weights.linear(prefix + ".gate_proj", hidden, width, bias),
        weights.linear(prefix + ".up_proj", hidden, width, bias),
        weights.linear(prefix + ".down_proj", width, hidden, bias));
  }

  private SparseMoe experts(String prefix) {
    ExpertConfig moe = config.experts();
    long hidden = config.hidden();
    List<Module> experts = new ArrayList<>();
    for (int e = 0; e < moe.experts(); e++) {
      experts.add(mlp(prefix + ".experts." + e, moe.width()));
    }
    boolean shared = moe.sharedWidth() > 0;
    return new SparseMoe(
        moe.routing(),
        weights.linear(prefix + ".gate", hidden, moe.experts(), false),
        experts,
        shared ? mlp(prefix + ".shared_expert", moe.sharedWidth()) : null,
        shared ? weights.linear(prefix + ".shared_expert_gate", hidden, 1, false) : null);
  }
}
