package fqt.quant.flow;

import fqt.nn.ScaleFold;
import fqt.quant.crew.Crew;
import fqt.tensor.Axis;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.SequencedMap;
import java.util.TreeMap;

/**
 * How large the columns of matrices are over all their rows: the mean or the maximum of |x|. They
 * are added up by chunks of the calibration samples, so that they are the same bits however many
 * devices share those.
 */
public final class ColumnSizes {
  private final boolean mean;
  private SequencedMap<Integer, double[]> chunks = new TreeMap<>();
  private long rows;

  /**
   * Of no rows yet: means or maxima.
   *
   * @param mean whether sizes are means, rather than maxima
   */
  public ColumnSizes(boolean mean) {
    this.mean = mean;
  }

  /**
   * Adds the rows of x [..., columns], which belong to a chunk of the samples.
   *
   * @param x F32 [..., columns], any number of rows
   * @param chunk 0 to 7
   */
  public void add(Tensor x, int chunk) {
    try (Scope scope = Scope.open()) {
      Tensor matrix = Host.rows(x);
      long count = matrix.dim(0);
      if (count == 0) {
        return;
      }
      ReduceOp size = mean ? ReduceOp.MEAN_ABS : ReduceOp.MAX_ABS;
      float[] found = Host.floats(Ops.reduce(size, Axis.COLUMNS, matrix));
      double[] sizes = chunks.computeIfAbsent(chunk, unused -> new double[found.length]);
      for (int i = 0; i < found.length; i++) {
        sizes[i] = joined(sizes[i], mean ? (double) found[i] * count : found[i]);
      }
      rows += count;
    }
  }

  private double joined(double size, double other) {
    return mean ? size + other : Math.max(size, other);
  }

  /**
   * Makes these the sizes of what all members of a crew have added, who call this together.
   *
   * @param member one of the crew
   */
  public void join(Crew.Member member) {
    SequencedMap<Integer, double[]> all = new TreeMap<>();
    long total = 0;
    for (ColumnSizes some : member.exchange(this)) {
      all.putAll(some.chunks);
      total += some.rows;
    }
    member.done();
    chunks = all;
    rows = total;
  }

  /** {@return how many rows were added} */
  public long rows() {
    return rows;
  }

  /**
   * {@return one for each channel of a fold's producer: the mean or maximum of the columns it
   * feeds}
   *
   * @param fold whose consumers read these columns
   */
  public double[] byChannel(ScaleFold fold) {
    int[] channelOf = fold.channelOfColumn();
    double[] sizes = new double[channelOf.length];
    for (double[] chunk : chunks.sequencedValues()) {
      for (int i = 0; i < sizes.length; i++) {
        sizes[i] = joined(sizes[i], chunk[i]);
      }
    }
    double[] channels = new double[Math.toIntExact(fold.channels())];
    for (int i = 0; i < sizes.length; i++) {
      double before = channels[channelOf[i]];
      channels[channelOf[i]] =
          mean ? before + sizes[i] / rows / fold.repeat() : Math.max(before, sizes[i]);
    }
    return channels;
  }
}
