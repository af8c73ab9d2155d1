package fqt.tensor;

import java.util.Arrays;

/**
 * Reads and makes small tensors of any device through arrays, for work that is done by the host.
 */
public final class Host {
  private Host() {}

  /** The elements of a float tensor. */
  public static float[] floats(Tensor x) {
    return Ops.to(Ops.to(Ops.contiguous(x), DType.F32), Device.CPU).toFloats();
  }

  /** Σ x over all elements of a vector, in F64. */
  public static double sum(Tensor x) {
    double sum = 0;
    for (float value : floats(x)) {
      sum += value;
    }
    return sum;
  }

  /** Σ x² over all elements of a tensor, in F64 over its rows. */
  public static double sumOfSquares(Tensor x) {
    try (Scope scope = Scope.open()) {
      return sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, rows(x)));
    }
  }

  /** An F32 tensor of the given values. */
  public static Tensor tensor(Device device, float[] values, long... dims) {
    return Ops.to(Ops.of(values, dims), device);
  }

  /** An I32 vector of the given values. */
  public static Tensor index(Device device, int[] values) {
    return Ops.to(Ops.of(values, values.length), device);
  }

  /** A tensor [..., features] as a contiguous matrix. */
  public static Tensor rows(Tensor x) {
    Tensor dense = Ops.contiguous(x);
    return x.rank() == 2 ? dense : dense.reshape(-1, x.dim(-1));
  }

  /** The chosen columns of an F32 matrix, contiguous. */
  public static Tensor columns(Tensor x, Tensor index) {
    try (Scope scope = Scope.open()) {
      Tensor rows = Ops.gatherRows(x.transpose(0, 1), index);
      return scope.keep(Ops.copy(rows.transpose(0, 1)));
    }
  }

  /**
   * What each column of a matrix gets from one number for each group of neighbours.
   *
   * @param byGroup F32 [rows, groups]
   * @param group columns of a group
   * @param columns of all groups together
   * @return F32 [rows, columns]
   */
  public static Tensor spread(Tensor byGroup, long group, long columns) {
    int[] groupOf = new int[Math.toIntExact(columns)];
    Arrays.setAll(groupOf, i -> (int) (i / group));
    return columns(byGroup, index(byGroup.device(), groupOf));
  }
}
