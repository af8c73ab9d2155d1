package fqt.tools.plot;

import fqt.tensor.Tensor;
import java.util.Locale;

/**
 * What the values of a tensor are like. Values that are not finite are counted and otherwise left
 * out; a tensor that has no others has NaN everywhere.
 *
 * @param count of finite values
 * @param notFinite how many are infinite or NaN
 * @param min smallest
 * @param max largest
 * @param mean of all
 * @param deviation standard deviation
 */
record Summary(long count, long notFinite, double min, double max, double mean, double deviation) {

  static Summary of(Tensor tensor) {
    double[] sums = new double[2];
    double[] ends = {Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};
    long[] counts = new long[2];
    Values.each(
        tensor,
        (row, column, columns, values) -> {
          for (float value : values) {
            if (Float.isFinite(value)) {
              sums[0] += value;
              sums[1] += (double) value * value;
              ends[0] = Math.min(ends[0], value);
              ends[1] = Math.max(ends[1], value);
              counts[0]++;
            } else {
              counts[1]++;
            }
          }
        });
    long n = counts[0];
    if (n == 0) {
      return new Summary(0, counts[1], Double.NaN, Double.NaN, Double.NaN, Double.NaN);
    }
    double mean = sums[0] / n;
    double variance = Math.max(0, sums[1] / n - mean * mean);
    return new Summary(n, counts[1], ends[0], ends[1], mean, Math.sqrt(variance));
  }

  /** Shape, range and spread in a line. */
  String line(Tensor tensor) {
    String range =
        count == 0
            ? "no finite value"
            : String.format(
                Locale.ROOT,
                "%s to %s · mean %s · deviation %s",
                Ticks.number(min),
                Ticks.number(max),
                Ticks.number(mean),
                Ticks.number(deviation));
    String broken = notFinite == 0 ? "" : " · " + notFinite + " not finite";
    return shape(tensor) + " · " + range + broken;
  }

  /** Type and shape, such as {@code BF16 128 × 384}. */
  static String shape(Tensor tensor) {
    StringBuilder text = new StringBuilder(tensor.dtype().toString());
    for (int i = 0; i < tensor.rank(); i++) {
      text.append(i == 0 ? " " : " × ").append(tensor.dim(i));
    }
    return text.toString();
  }
}
