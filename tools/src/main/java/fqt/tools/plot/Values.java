package fqt.tools.plot;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/** Walks over a tensor of any size in pieces that fit into a small array. */
final class Values {
  private static final int PIECE = 1 << 18;

  private Values() {}

  /** Takes a piece of a matrix. */
  interface Piece {
    /**
     * Takes some rows, or a part of one row.
     *
     * @param row where the piece begins
     * @param column where the piece begins
     * @param columns of the piece
     * @param values row after row
     */
    void take(long row, long column, int columns, float[] values);
  }

  /**
   * A tensor as a matrix: all dimensions but the last become rows.
   *
   * @throws IllegalArgumentException if it holds nothing
   */
  static Tensor matrix(Tensor tensor) {
    if (tensor.count() == 0) {
      throw new IllegalArgumentException("nothing to plot: the tensor is " + tensor);
    }
    long columns = tensor.rank() == 0 ? 1 : tensor.dim(tensor.rank() - 1);
    return Ops.contiguous(Ops.to(tensor, Device.CPU)).reshape(-1, columns);
  }

  /** Hands over all elements, once, in order. */
  static void each(Tensor tensor, Piece piece) {
    try (Scope scope = Scope.open()) {
      Tensor matrix = matrix(tensor);
      long rows = matrix.dim(0);
      long columns = matrix.dim(1);
      long step = Math.max(1, PIECE / columns);
      for (long row = 0; row < rows; row += step) {
        Tensor some = matrix.slice(0, row, Math.min(rows, row + step));
        for (long column = 0; column < columns; column += PIECE) {
          long end = Math.min(columns, column + PIECE);
          piece.take(row, column, (int) (end - column), floats(some.slice(1, column, end)));
        }
      }
    }
  }

  private static float[] floats(Tensor part) {
    try (Scope scope = Scope.open()) {
      Tensor packed = Ops.contiguous(part);
      if (packed.dtype().isFloat()) {
        return Ops.to(packed, DType.F32).toFloats();
      }
      long[] whole = packed.toLongs();
      float[] values = new float[whole.length];
      for (int i = 0; i < values.length; i++) {
        values[i] = whole[i];
      }
      return values;
    }
  }
}
