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

  /** No inputs yet, for {@link #add}. */
  public static ChunkSum none(Crew.Member member, long columns) {
    return new ChunkSum(member, columns, columns);
  }

  /** Adds inputs that belong to a chunk of the samples. */
  public static void add(ChunkSum sum, Tensor x, int chunk) {
    Tensor rows = Host.rows(x);
    if (rows.dim(0) > 0) {
      Ops.lowerSyrkInto(1, rows, 1, sum.place(chunk, rows.dim(0)));
    }
  }

  /** The moment of all columns, [columns, columns], in the memory of the sum. */
  public static Tensor total(ChunkSum sum) {
    Tensor total = sum.total();
    Ops.completeSyrk(total);
    return total;
  }

  /** No inputs yet, for {@link #addGroups}: a row [group · group] for each group. */
  public static ChunkSum noneOfGroups(Crew.Member member, long columns, long group) {
    return new ChunkSum(member, Math.ceilDiv(columns, group), group * group);
  }

  /** Adds inputs that belong to a chunk of the samples. */
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
   * {@code Δ G Δᵀ} of every row and group of a change Δ [rows, columns], row by row: the squares
   * that the change of one group adds to what the row makes of the inputs.
   *
   * @param moments the total of a sum that {@link #addGroups} made
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
