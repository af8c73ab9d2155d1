package fqt.nn;

import fqt.tensor.AttentionMask;
import fqt.tensor.Tensor;

/**
 * Everything a layer needs besides its input: where the tokens stand, what they may see, and what
 * came before them. Immutable; the same arguments serve all layers of a model, except that a layer
 * keeps its keys and values in its own place of the cache.
 *
 * @param cos rotary table, F32 [tokens, rotary dimensions / 2], or null
 * @param sin like cos
 * @param mask which keys each token sees, or null for blocks without attention
 * @param cache keys and values of earlier tokens, or null when all tokens are in the input
 */
public record LayerArgs(Tensor cos, Tensor sin, AttentionMask mask, KvCache cache) {
  /** Arguments of blocks that need none. */
  public static final LayerArgs NONE = new LayerArgs(null, null, null, null);

  /**
   * The same arguments with another mask.
   *
   * @param other which keys each token sees, or null for blocks without attention
   * @return a copy with that mask; tables and cache are shared
   */
  public LayerArgs withMask(AttentionMask other) {
    return new LayerArgs(cos, sin, other, cache);
  }
}
