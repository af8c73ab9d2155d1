package fqt.tensor;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * Reads and makes small tensors of any device through arrays, for work that is done by the host.
 */
public final class Host {
  /** Rows that are moved at a time: whole copies of a large matrix take its memory. */
  private static final long PIECE = 1024;

  private Host() {}

  /**
   * {@return the elements in row-major order, as a fresh array}
   *
   * @param x any float type, device, shape and strides
   */
  public static float[] floats(Tensor x) {
    return Ops.to(Ops.to(Ops.contiguous(x), DType.F32), Device.CPU).toFloats();
  }

  /**
   * {@return Σ x over all elements of a vector, in F64}
   *
   * @param x any float type, device and strides
   */
  public static double sum(Tensor x) {
    double sum = 0;
    for (float value : floats(x)) {
      sum += value;
    }
    return sum;
  }

  /**
   * {@return Σ x² over all elements of a tensor, in F64 over its rows}
   *
   * @param x F32 [..., features], any device
   */
  public static double sumOfSquares(Tensor x) {
    try (Scope scope = Scope.open()) {
      return sum(Ops.reduce(ReduceOp.SUM_SQUARES, Axis.ROWS, rows(x)));
    }
  }

  /**
   * {@return an F32 tensor of the given values}
   *
   * @param device where it is put
   * @param values in row-major order
   * @param dims its shape, which has as many elements
   */
  public static Tensor tensor(Device device, float[] values, long... dims) {
    return Ops.to(Ops.of(values, dims), device);
  }

  /**
   * {@return an I32 vector of the given values}
   *
   * @param device where it is put
   * @param values the elements, one after the other
   */
  public static Tensor index(Device device, int[] values) {
    return Ops.to(Ops.of(values, values.length), device);
  }

  /**
   * {@return the places of some values from the largest to the smallest, equals in their order}
   *
   * @param values any numbers
   */
  public static int[] descending(float[] values) {
    return IntStream.range(0, values.length)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> -values[i]))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /**
   * {@return a tensor [..., features] as a contiguous matrix [rows, features]} It is a view where
   * it can be.
   *
   * @param x at least of rank 1
   */
  public static Tensor rows(Tensor x) {
    Tensor dense = Ops.contiguous(x);
    return x.rank() == 2 ? dense : dense.reshape(-1, x.dim(-1));
  }

  /**
   * {@return the chosen columns of a matrix, contiguous} They are moved some rows at a time.
   *
   * @param x F32 [rows, columns]
   * @param index I32 [chosen], from 0 to columns − 1, in the order wanted
   */
  public static Tensor columns(Tensor x, Tensor index) {
    Tensor out = Ops.empty(x.device(), DType.F32, x.dim(0), index.dim(0));
    for (long from = 0; from < x.dim(0); from += PIECE) {
      try (Scope scope = Scope.open()) {
        long to = Math.min(x.dim(0), from + PIECE);
        Tensor columns = Ops.gatherRows(x.slice(0, from, to).transpose(0, 1), index);
        Ops.copyInto(columns.transpose(0, 1), out.slice(0, from, to));
      }
    }
    return out;
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
