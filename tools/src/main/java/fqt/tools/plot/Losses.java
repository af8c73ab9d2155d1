package fqt.tools.plot;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Path2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Losses of linears over the layers, one curve a kind of linear; the losses of experts of one kind
 * in a layer are added up.
 */
final class Losses {
  private static final Pattern LAYER = Pattern.compile("(.*?)\\.(\\d+)\\.(.*)");
  private static final Color[] COLOURS = {
    new Color(0x2f5fd0),
    new Color(0xd2452c),
    new Color(0x1c8c5e),
    new Color(0xb9790a),
    new Color(0x7a4bc4),
    new Color(0x0f8aa3),
    new Color(0xc23a86),
    new Color(0x66707f),
    new Color(0x7f8f1a),
    new Color(0x8a5a3c)
  };

  private final SequencedMap<String, TreeMap<Integer, Double>> curves = new LinkedHashMap<>();
  private int layers;

  Losses(Map<String, Double> losses) {
    losses.forEach(
        (name, loss) -> {
          Matcher matcher = LAYER.matcher(name);
          if (loss > 0 && loss <= Double.MAX_VALUE && matcher.matches()) {
            int layer = Integer.parseInt(matcher.group(2));
            String kind = matcher.group(3).replaceAll("\\.\\d+\\.", ".*.");
            kind = matcher.group(1).startsWith("visual") ? "visual " + kind : kind;
            curves.computeIfAbsent(kind, unused -> new TreeMap<>()).merge(layer, loss, Double::sum);
            layers = Math.max(layers, layer + 1);
          }
        });
    if (curves.isEmpty()) {
      throw new IllegalArgumentException(
          losses.size() + " linears, but none in a numbered layer has a positive loss");
    }
  }

  /** Kinds of linears, then layers, with the loss. */
  SequencedMap<String, TreeMap<Integer, Double>> curves() {
    return curves;
  }

  BufferedImage draw(String title) {
    double low = Double.POSITIVE_INFINITY;
    double high = 0;
    double sum = 0;
    for (TreeMap<Integer, Double> curve : curves.values()) {
      for (double loss : curve.values()) {
        low = Math.min(low, loss);
        high = Math.max(high, loss);
        sum += loss;
      }
    }
    String line = "%d layers · sum of all losses %s".formatted(layers, Ticks.number(sum));
    Frame frame = new Frame(Ticks.indices(layers, 14), Ticks.powers(low, high, 8));
    try (Sheet sheet = new Sheet(title, line)) {
      frame.draw(sheet, "layer", "loss");
      int colour = 0;
      for (TreeMap<Integer, Double> curve : curves.values()) {
        curve(sheet, frame, curve, COLOURS[colour++ % COLOURS.length]);
      }
      legend(sheet);
      return sheet.image();
    }
  }

  private static void curve(
      Sheet sheet, Frame frame, TreeMap<Integer, Double> curve, Color colour) {
    Path2D path = new Path2D.Double();
    double size = curve.size() > 60 ? 3 : 6;
    sheet.graphics().setColor(colour);
    for (Map.Entry<Integer, Double> point : curve.entrySet()) {
      double x = frame.x(point.getKey());
      double y = frame.y(point.getValue());
      if (path.getCurrentPoint() == null) {
        path.moveTo(x, y);
      } else {
        path.lineTo(x, y);
      }
      sheet.graphics().fill(new Ellipse2D.Double(x - size / 2, y - size / 2, size, size));
    }
    sheet.graphics().setStroke(new BasicStroke(1.6f));
    sheet.graphics().draw(path);
  }

  /** In a line above the frame, from the right. */
  private void legend(Sheet sheet) {
    double x = Frame.RIGHT;
    List<String> kinds = List.copyOf(curves.keySet());
    double y = Frame.TOP - 12;
    for (int i = kinds.size() - 1; i >= 0; i--) {
      String name = kinds.get(i).substring(kinds.get(i).lastIndexOf('.') + 1);
      double width = sheet.width(name, Sheet.label());
      if (x - width - 20 < Frame.LEFT) {
        sheet.words("…", x, y, Sheet.Side.RIGHT, Sheet.MUTED);
        return;
      }
      sheet.words(name, x, y, Sheet.Side.RIGHT, Sheet.MUTED);
      sheet.graphics().setColor(COLOURS[i % COLOURS.length]);
      sheet.graphics().fill(new Rectangle2D.Double(x - width - 15, y - 4, 9, 9));
      x -= width + 32;
    }
  }
}
