package fqt.models;

import fqt.nn.LayerArgs;
import fqt.nn.Module;
import fqt.nn.ScaleFold;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;

/** Attention among patches, with one fused linear for queries, keys and values, in that order. */
final class VisionAttention extends Module {
  private final long heads;
  private final long features;
  private final Child qkv;
  private final Child output;

  VisionAttention(long heads, long features, Module qkv, Module output) {
    this.heads = heads;
    this.features = features;
    this.qkv = child("qkv", qkv);
    this.output = child("proj", output);
  }

  @Override
  public List<Module> inputReaders() {
    return List.of(qkv.get());
  }

  /** The values are the last third of the fused linear. */
  @Override
  public List<ScaleFold> scaleFolds() {
    return List.of(
        new ScaleFold(qkv.get(), 2 * features, features, 1, features, List.of(output.get())));
  }

  /** Input and output are F32 [patches, features]. */
  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      long patches = input.dim(0);
      long size = features / heads;
      Tensor fused = qkv.apply(input, args).reshape(patches, 3, heads, size);
      Tensor q = Ops.rotary(fused.select(1, 0), args.cos(), args.sin());
      Tensor k = Ops.rotary(fused.select(1, 1), args.cos(), args.sin());
      float scale = (float) (1 / Math.sqrt((double) size));
      Tensor mixed = Ops.attention(q, k, fused.select(1, 2), scale, args.mask());
      return scope.keep(output.apply(mixed.reshape(patches, features), args));
    }
  }
}
