package fqt.quant;

import fqt.nn.ScaleFold;
import fqt.quant.SmoothQuantConfig.Statistic;
import fqt.tensor.Axis;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/** How large the columns of matrices are, over all rows of those that were added. */
final class ColumnSizes {
  private final Statistic statistic;
  private double[] sizes;
  private long rows;

  /** Means or maxima of |x|. */
  ColumnSizes(Statistic statistic) {
    this.statistic = statistic;
  }

  /** Adds the rows of x [..., columns]. */
  void add(Tensor x) {
    try (Scope scope = Scope.open()) {
      Tensor matrix = Host.rows(x);
      long count = matrix.dim(0);
      if (count == 0) {
        return;
      }
      boolean mean = statistic == Statistic.MEAN;
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
  long rows() {
    return rows;
  }

  /** One for each channel that feeds a fold's columns: the mean or maximum of those it feeds. */
  double[] byChannel(ScaleFold fold) {
    int[] channelOf = fold.channelOfColumn();
    double[] channels = new double[Math.toIntExact(fold.channels())];
    for (int i = 0; i < sizes.length; i++) {
      double before = channels[channelOf[i]];
      channels[channelOf[i]] =
          statistic == Statistic.MEAN
              ? before + sizes[i] / rows / fold.repeat()
              : Math.max(before, sizes[i]);
    }
    return channels;
  }
}
