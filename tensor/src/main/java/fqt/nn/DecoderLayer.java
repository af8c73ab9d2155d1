package fqt.nn;

import fqt.tensor.BinaryOp;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Pre-norm transformer layer: {@code h = x + attn(norm(x))}, {@code h + mlp(norm(h))}. */
public final class DecoderLayer extends Module {
  private final long features;
  private final Child attentionNorm;
  private final Child attention;
  private final Child mlpNorm;
  private final Child mlp;

  /**
   * A layer of the given parts.
   *
   * @param features size of the hidden state
   * @param attentionNorm input_layernorm
   * @param attention self_attn
   * @param mlpNorm post_attention_layernorm
   * @param mlp the feed-forward block, dense or sparse
   */
  public DecoderLayer(
      long features, Module attentionNorm, Module attention, Module mlpNorm, Module mlp) {
    this.features = features;
    this.attentionNorm = child("input_layernorm", attentionNorm);
    this.attention = child("self_attn", attention);
    this.mlpNorm = child("post_attention_layernorm", mlpNorm);
    this.mlp = child("mlp", mlp);
  }

  /** The two norms with all that reads them, and the folds of the parts. */
  @Override
  public List<ScaleFold> scaleFolds() {
    List<ScaleFold> folds = new ArrayList<>();
    folds.add(ScaleFold.of(attentionNorm.get(), features, attention.get().inputReaders()));
    folds.addAll(attention.get().scaleFolds());
    folds.add(ScaleFold.of(mlpNorm.get(), features, mlp.get().inputReaders()));
    folds.addAll(mlp.get().scaleFolds());
    return folds;
  }

  /** Input and output are F32 [tokens, features]. */
  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor attended = attention.apply(attentionNorm.apply(input, args), args);
      Tensor hidden = Ops.add(input, attended);
      Tensor fed = mlp.apply(mlpNorm.apply(hidden, args), args);
      Ops.binaryInto(BinaryOp.ADD, hidden, fed, hidden);
      return scope.keep(hidden);
    }
  }
}
