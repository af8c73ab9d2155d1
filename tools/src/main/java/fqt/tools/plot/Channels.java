package fqt.tools.plot;

import fqt.tensor.Tensor;
import java.awt.Color;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** The largest magnitude of each channel (column), with the few channels that stand out named. */
final class Channels {
  private static final int NAMED = 6;

  private final Tensor tensor;
  private final float[] maxima;

  Channels(Tensor tensor) {
    this.tensor = tensor;
    Grid grid = Grid.of(tensor, 1, Integer.MAX_VALUE);
    maxima = grid.cells();
  }

  BufferedImage draw(String title) {
    float[] sorted = maxima.clone();
    Arrays.sort(sorted);
    float largest = sorted[sorted.length - 1];
    float median = sorted[sorted.length / 2];
    String line =
        "%s · median of the channels %s · largest %s"
            .formatted(Summary.shape(tensor), Ticks.number(median), Ticks.number(largest));
    Frame frame = new Frame(Ticks.indices(maxima.length, 12), Ticks.around(0, largest * 1.04, 7));
    try (Sheet sheet = new Sheet(title, line)) {
      frame.draw(sheet, "channel", "largest magnitude");
      bars(sheet, frame);
      double y = frame.y(median);
      Color faint = new Color(0x1d, 0x24, 0x33, 0xb0);
      sheet.line(Frame.LEFT, y, Frame.RIGHT, y, faint, 1);
      outstanding(sheet, frame, median);
      return sheet.image();
    }
  }

  /** A line a channel, or one for each pixel with the largest of its channels. */
  private void bars(Sheet sheet, Frame frame) {
    int columns = (int) Math.min(maxima.length, 2 * (Frame.RIGHT - Frame.LEFT));
    float[] tallest = new float[columns];
    for (int i = 0; i < maxima.length; i++) {
      int column = (int) ((long) i * columns / maxima.length);
      tallest[column] = Math.max(tallest[column], maxima[i]);
    }
    double thickness = Math.clamp(0.7 * (Frame.RIGHT - Frame.LEFT) / columns, 0.5, 6);
    for (int i = 0; i < columns; i++) {
      double channel = columns == 1 ? 0 : (double) i * (maxima.length - 1) / (columns - 1);
      double x = frame.x(channel);
      sheet.line(x, Frame.BOTTOM, x, frame.y(tallest[i]), Sheet.BLUE, thickness);
    }
  }

  /** Names the largest channels that are at least three times the median, as far as they fit. */
  private void outstanding(Sheet sheet, Frame frame, float median) {
    List<Integer> largest =
        IntStream.range(0, maxima.length)
            .filter(i -> maxima[i] > 3 * median)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> -maxima[i]))
            .limit(NAMED)
            .toList();
    List<Rectangle2D> taken = new ArrayList<>();
    for (int channel : largest) {
      double x = frame.x(channel);
      double y = frame.y(maxima[channel]);
      sheet.graphics().setColor(Sheet.RED);
      sheet.graphics().fill(new Ellipse2D.Double(x - 3, y - 3, 6, 6));
      taken.add(new Rectangle2D.Double(x - 4, y - 4, 8, 8));
    }
    for (int channel : largest) {
      name(sheet, channel, frame.x(channel), frame.y(maxima[channel]), taken);
    }
  }

  /** Writes a number right of, left of, or above its point, where nothing stands yet. */
  private static void name(Sheet sheet, int channel, double x, double y, List<Rectangle2D> taken) {
    String name = Integer.toString(channel);
    double width = sheet.width(name, Sheet.label());
    double[][] places = {{x + 7, y}, {x - 7 - width, y}, {x - width / 2, y - 13}};
    for (double[] place : places) {
      Rectangle2D box = new Rectangle2D.Double(place[0] - 2, place[1] - 8, width + 4, 16);
      boolean inside = box.getMinX() > Frame.LEFT && box.getMaxX() < Frame.RIGHT;
      if (inside && taken.stream().noneMatch(box::intersects)) {
        sheet.words(name, place[0], place[1], Sheet.Side.LEFT, Sheet.RED);
        taken.add(box);
        return;
      }
    }
  }
}
