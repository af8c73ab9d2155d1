package fqt.models;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.tensor.BinaryOp;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Pre-norm block of a vision tower: attention among patches, then a feed-forward block. */
final class VisionBlock extends Module {
  private final long features;
  private final Child attentionNorm;
  private final Child attention;
  private final Child mlpNorm;
  private final Child mlp;

  VisionBlock(long features, Module attentionNorm, Module attention, Module mlpNorm, Module mlp) {
    this.features = features;
    this.attentionNorm = child("norm1", attentionNorm);
    this.attention = child("attn", attention);
    this.mlpNorm = child("norm2", mlpNorm);
    this.mlp = child("mlp", mlp);
  }

  @Override
  public List<ScaleFold> scaleFolds() {
    List<ScaleFold> folds = new ArrayList<>();
    folds.add(ScaleFold.of(attentionNorm.get(), features, attention.get().inputReaders()));
    folds.addAll(attention.get().scaleFolds());
    folds.add(ScaleFold.of(mlpNorm.get(), features, mlp.get().inputReaders()));
    folds.addAll(mlp.get().scaleFolds());
    return folds;
  }

  /** Input and output are F32 [patches, features]. */
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
