package fqt.tools.plot;

import fqt.tensor.Tensor;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;

/** How often which values occur, the counts on a logarithmic axis, so that tails can be seen. */
final class Histogram {
  private static final int BINS = 160;

  private final Tensor tensor;
  private final Summary summary;
  private final double low;
  private final double width;
  private final long[] counts;

  Histogram(Tensor tensor) {
    this.tensor = tensor;
    summary = Summary.of(tensor);
    if (summary.count() == 0) {
      throw new IllegalArgumentException("the tensor " + tensor + " holds no finite value");
    }
    double range = summary.max() - summary.min();
    if (!tensor.dtype().isFloat() && range < BINS) {
      // Codes: a bin for each, around it.
      low = summary.min() - 0.5;
      width = 1;
      counts = new long[(int) range + 1];
    } else {
      double wide = range > 0 ? range : Math.max(1e-6, Math.abs(summary.max()) * 0.01);
      low = range > 0 ? summary.min() : summary.min() - wide / 2;
      width = wide / BINS;
      counts = new long[BINS];
    }
    Values.each(tensor, (row, column, columns, values) -> count(values));
  }

  private void count(float[] values) {
    for (float value : values) {
      if (Float.isFinite(value)) {
        counts[Math.clamp((long) ((value - low) / width), 0, counts.length - 1)]++;
      }
    }
  }

  /** Counts of the bins, from the lowest on. */
  long[] counts() {
    return counts.clone();
  }

  BufferedImage draw(String title) {
    long most = 1;
    for (long count : counts) {
      most = Math.max(most, count);
    }
    Ticks x = Ticks.within(low, low + width * counts.length, 9);
    Frame frame = new Frame(x, Ticks.counts(most));
    try (Sheet sheet = new Sheet(title, summary.line(tensor))) {
      frame.draw(sheet, "value", "occurrences");
      sheet.graphics().setColor(Sheet.BLUE);
      for (int i = 0; i < counts.length; i++) {
        if (counts[i] > 0) {
          double left = frame.x(low + i * width);
          double right = frame.x(low + (i + 1) * width);
          double top = frame.y(counts[i]);
          double gap = Math.min(1, (right - left) * 0.12);
          sheet
              .graphics()
              .fill(
                  new Rectangle2D.Double(
                      left + gap / 2, top, right - left - gap, Frame.BOTTOM - top));
        }
      }
      return sheet.image();
    }
  }
}
