package fqt.quant.flow;

import fqt.quant.crew.Crew;
import fqt.tensor.Axis;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;

/**
 * Second moments {@code Σ xᵀx} of inputs x [..., columns] over calibration samples: of all columns,
 * or of groups of neighbours by themselves.
 */
public final class Moments {
  private Moments() {}

  /**
   * {@return a sum of no inputs yet, for {@link #add}}
   *
   * @param member whose samples will be added
   * @param columns inputs of the linear
   */
  public static ChunkSum none(Crew.Member member, long columns) {
    return new ChunkSum(member, columns, columns);
  }

  /**
   * Adds inputs that belong to a chunk of the samples.
   *
   * @param sum made by {@link #none}
   * @param x F32 [..., columns]
   * @param chunk of the samples, not before that of an earlier call
   */
  public static void add(ChunkSum sum, Tensor x, int chunk) {
    Tensor rows = Host.rows(x);
    if (rows.dim(0) > 0) {
      Ops.lowerSyrkInto(1, rows, 1, sum.place(chunk, rows.dim(0)));
    }
  }

  /**
   * {@return the moment of all columns, [columns, columns], in the memory of the sum}
   *
   * @param sum made by {@link #none}; nothing can be added afterwards
   */
  public static Tensor total(ChunkSum sum) {
    Tensor total = sum.total();
    Ops.completeSyrk(total);
    return total;
  }

  /**
   * {@return a sum of no inputs yet, for {@link #addGroups}: a row [group · group] for each group}
   *
   * @param member whose samples will be added
   * @param columns inputs of the linear
   * @param group columns of a group
   */
  public static ChunkSum noneOfGroups(Crew.Member member, long columns, long group) {
    return new ChunkSum(member, Math.ceilDiv(columns, group), group * group);
  }

  /**
   * Adds inputs that belong to a chunk of the samples.
   *
   * @param sum made by {@link #noneOfGroups}
   * @param x F32 [..., columns]
   * @param group columns of a group
   * @param chunk of the samples, not before that of an earlier call
   */
  public static void addGroups(ChunkSum sum, Tensor x, long group, int chunk) {
    Tensor rows = Host.rows(x);
    if (rows.dim(0) > 0) {
      Tensor moments = sum.place(chunk, rows.dim(0));
      for (long g = 0; g < moments.dim(0); g++) {
        Tensor part = part(rows, group, g);
        Ops.syrkInto(1, part, 1, moment(moments, g, part.dim(1)));
      }
    }
  }

  /**
   * {@return {@code Δ G Δᵀ} of every row and group of a change Δ [rows, columns], row by row: the
   * squares that the change of one group adds to what the row makes of the inputs}
   *
   * @param change F32 [rows, columns]
   * @param moments the total of a sum that {@link #addGroups} made
   * @param group columns of a group
   */
  public static float[] squares(Tensor change, Tensor moments, long group) {
    int groups = Math.toIntExact(moments.dim(0));
    float[] squares = new float[Math.toIntExact(change.dim(0) * groups)];
    for (int g = 0; g < groups; g++) {
      Tensor part = part(change, group, g);
      Tensor moment = moment(moments, g, part.dim(1));
      Tensor product = Ops.multiply(Ops.matmul(part, moment), part);
      float[] sums = Host.floats(Ops.reduce(ReduceOp.SUM, Axis.ROWS, product));
      for (int n = 0; n < sums.length; n++) {
        squares[n * groups + g] = sums[n];
      }
    }
    return squares;
  }

  /** The columns of a matrix that belong to a group. */
  private static Tensor part(Tensor x, long group, long number) {
    long from = number * group;
    return Ops.contiguous(x.slice(1, from, Math.min(x.dim(1), from + group)));
  }

  /** The second moment of a group's inputs, of which the last may have fewer. */
  private static Tensor moment(Tensor moments, long number, long inputs) {
    Tensor row = moments.slice(0, number, number + 1);
    return row.slice(1, 0, inputs * inputs).reshape(inputs, inputs);
  }
}
