package fqt.nn;

import fqt.tensor.AttentionMask;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;

/**
 * Self-attention with grouped query heads (Ainslie et al. 2023), rotary positions, and, if given,
 * norms of queries and keys. The three projections see the very tensor that comes in.
 */
public final class Attention extends Module {
  /**
   * How the features are cut into heads.
   *
   * @param queries query heads
   * @param keyValues heads of keys and of values; divides {@code queries}
   * @param size features of a head
   * @param window how many tokens back a query sees, itself included; 0 for all
   */
  public record Heads(long queries, long keyValues, long size, long window) {
    /** Checks that the numbers go together. */
    public Heads {
      if (queries < 1 || keyValues < 1 || size < 1 || window < 0 || queries % keyValues != 0) {
        throw new IllegalArgumentException(
            "attention of %d query heads over %d key heads of size %d, window %d"
                .formatted(queries, keyValues, size, window));
      }
    }
  }

  /**
   * The parts of an attention block.
   *
   * @param query q_proj, features → queries · size
   * @param key k_proj, features → keyValues · size
   * @param value v_proj, like key
   * @param output o_proj, queries · size → features
   * @param queryNorm q_norm over a head, or null
   * @param keyNorm k_norm over a head, or null
   */
  public record Parts(
      Module query, Module key, Module value, Module output, Module queryNorm, Module keyNorm) {}

  private final Heads heads;
  private final Child query;
  private final Child key;
  private final Child value;
  private final Child output;
  private final Child queryNorm;
  private final Child keyNorm;

  /**
   * An attention block of the given parts.
   *
   * @param heads how queries, keys and values are cut
   * @param parts projections and norms whose sizes fit {@code heads}
   */
  public Attention(Heads heads, Parts parts) {
    this.heads = heads;
    query = child("q_proj", parts.query());
    key = child("k_proj", parts.key());
    value = child("v_proj", parts.value());
    output = child("o_proj", parts.output());
    queryNorm = parts.queryNorm() == null ? null : child("q_norm", parts.queryNorm());
    keyNorm = parts.keyNorm() == null ? null : child("k_norm", parts.keyNorm());
  }

  /** {@return how the features are cut into heads} */
  public Heads heads() {
    return heads;
  }

  @Override
  public List<Module> inputReaders() {
    return List.of(query.get(), key.get(), value.get());
  }

  @Override
  public List<ScaleFold> scaleFolds() {
    long groups = heads.queries() / heads.keyValues();
    long channels = heads.keyValues() * heads.size();
    return List.of(
        new ScaleFold(value.get(), 0, channels, groups, heads.size(), List.of(output.get())));
  }

  /** Input and output are F32 [tokens, features]. */
  @Override
  protected Tensor forward(Tensor input, LayerArgs args) {
    try (Scope scope = Scope.open()) {
      Tensor q = heads(query, queryNorm, heads.queries(), input, args);
      Tensor k = heads(key, keyNorm, heads.keyValues(), input, args);
      Tensor v = heads(value, null, heads.keyValues(), input, args);
      if (args.cos() != null) {
        q = Ops.rotary(q, args.cos(), args.sin());
        k = Ops.rotary(k, args.cos(), args.sin());
      }
      if (args.cache() != null) {
        KvCache.Entry all = args.cache().append(this, k, v);
        k = all.keys();
        v = all.values();
      }
      float scale = (float) (1 / Math.sqrt((double) heads.size()));
      Tensor mixed = Ops.attention(q, k, v, scale, mask(args));
      return scope.keep(
          output.apply(mixed.reshape(input.dim(0), heads.queries() * heads.size()), args));
    }
  }

  private Tensor heads(Child projection, Child norm, long count, Tensor input, LayerArgs args) {
    Tensor split = projection.apply(input, args).reshape(input.dim(0), count, heads.size());
    return norm == null ? split : norm.apply(split, args);
  }

  private AttentionMask mask(LayerArgs args) {
    return heads.window() == 0 ? args.mask() : args.mask().withWindow(heads.window());
  }
}
