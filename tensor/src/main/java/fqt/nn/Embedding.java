package fqt.nn;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;

/** A row of a table for each token id. */
public final class Embedding extends Module {
  /**
   * An embedding over an existing table.
   *
   * @param weight [vocabulary, features], any float type
   * @throws IllegalArgumentException if the weight is no float matrix
   */
  public Embedding(Tensor weight) {
    if (weight.rank() != 2 || !weight.dtype().isFloat()) {
      throw new IllegalArgumentException(
          "table of an embedding is " + weight + "; expected a float matrix");
    }
    parameter("weight", weight);
  }

  /** {@return the table, [vocabulary, features]} */
  public Tensor weight() {
    return parameters().get("weight");
  }

  /** Ids I32 [tokens] in, F32 [tokens, features] out. */
  @Override
  protected Tensor forward(Tensor ids, LayerArgs args) {
    return Ops.gatherRows(weight(), ids);
  }
}
