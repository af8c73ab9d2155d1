package fqt.quant.flow;

import fqt.nn.ScaleFold;
import fqt.tensor.Axis;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/** How large the columns of matrices are over all their rows: the mean or the maximum of |x|. */
public final class ColumnSizes {
  private final boolean mean;
  private double[] sizes;
  private long rows;

  /** Of no rows yet: means or maxima. */
  public ColumnSizes(boolean mean) {
    this.mean = mean;
  }

  /** Adds the rows of x [..., columns]. */
  public void add(Tensor x) {
    try (Scope scope = Scope.open()) {
      Tensor matrix = Host.rows(x);
      long count = matrix.dim(0);
      if (count == 0) {
        return;
      }
      ReduceOp size = mean ? ReduceOp.MEAN_ABS : ReduceOp.MAX_ABS;
      float[] found = Host.floats(Ops.reduce(size, Axis.COLUMNS, matrix));
      sizes = sizes == null ? new double[found.length] : sizes;
      for (int i = 0; i < found.length; i++) {
        sizes[i] = mean ? sizes[i] + (double) found[i] * count : Math.max(sizes[i], found[i]);
      }
      rows += count;
    }
  }

  /** Rows added. */
  public long rows() {
    return rows;
  }

  /** One for each channel of a fold's producer: the mean or maximum of the columns it feeds. */
  public double[] byChannel(ScaleFold fold) {
    int[] channelOf = fold.channelOfColumn();
    double[] channels = new double[Math.toIntExact(fold.channels())];
    for (int i = 0; i < sizes.length; i++) {
      double before = channels[channelOf[i]];
      channels[channelOf[i]] =
          mean ? before + sizes[i] / rows / fold.repeat() : Math.max(before, sizes[i]);
    }
    return channels;
  }
}
