package fqt.tools.plot;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.AffineTransform;
import java.awt.geom.Line2D;
import java.awt.image.BufferedImage;

/**
 * A sheet of {@value #WIDTH} by {@value #HEIGHT} units to draw on, two pixels a unit, with title
 * and line below it.
 */
final class Sheet implements AutoCloseable {
  static final int WIDTH = 960;
  static final int HEIGHT = 600;

  static final Color INK = new Color(0x1d2433);
  static final Color MUTED = new Color(0x5b6577);
  static final Color LINE = new Color(0xdfe3ea);
  static final Color WALL = new Color(0xf6f7f9);
  static final Color BLUE = new Color(0x2f5fd0);
  static final Color RED = new Color(0xd2452c);

  private static final int PIXELS = 2;
  private static final double LEFT = 28;

  /** Where words stand, seen from their place. */
  enum Side {
    LEFT,
    CENTRE,
    RIGHT
  }

  private final BufferedImage image =
      new BufferedImage(WIDTH * PIXELS, HEIGHT * PIXELS, BufferedImage.TYPE_INT_RGB);
  private final Graphics2D graphics = image.createGraphics();

  /**
   * An empty sheet with title and line.
   *
   * @throws IllegalStateException if this machine has no fonts
   */
  Sheet(String title, String line) {
    graphics.scale(PIXELS, PIXELS);
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    graphics.setRenderingHint(RenderingHints.KEY_STROKE_CONTROL, RenderingHints.VALUE_STROKE_PURE);
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, WIDTH, HEIGHT);
    requireFonts();
    text(fitting(title, font(19, true)), LEFT, 36, Side.LEFT, font(19, true), INK);
    text(fitting(line, font(12.5f, false)), LEFT, 58, Side.LEFT, font(12.5f, false), MUTED);
  }

  /** Java asks the system for fonts only when the first letter is drawn. */
  private void requireFonts() {
    try {
      graphics.getFontMetrics(font(12, false)).stringWidth("0");
    } catch (RuntimeException | LinkageError | InternalError missing) {
      throw new IllegalStateException(
          "Java finds no font to write with: install fontconfig and a font"
              + " (Debian: apt-get install fontconfig fonts-dejavu-core)",
          missing);
    }
  }

  static Font font(float size, boolean bold) {
    return new Font(Font.SANS_SERIF, bold ? Font.BOLD : Font.PLAIN, 1).deriveFont(size);
  }

  /** The usual font of labels. */
  static Font label() {
    return font(12, false);
  }

  /** Shortens words in their middle until they fit between the margins. */
  private String fitting(String text, Font font) {
    FontMetrics metrics = graphics.getFontMetrics(font);
    String fitting = text;
    for (int keep = text.length() - 1;
        metrics.stringWidth(fitting) > WIDTH - 2 * LEFT && keep > 8;
        keep--) {
      fitting =
          text.substring(0, keep / 2) + "…" + text.substring(text.length() - (keep - keep / 2));
    }
    return fitting;
  }

  Graphics2D graphics() {
    return graphics;
  }

  double width(String text, Font font) {
    return graphics.getFontMetrics(font).getStringBounds(text, graphics).getWidth();
  }

  /** Writes a line of words; y is that of their middle. */
  void words(String text, double x, double y, Side side, Color color) {
    FontMetrics metrics = graphics.getFontMetrics(label());
    text(text, x, y + (metrics.getAscent() - metrics.getDescent()) / 2.0, side, label(), color);
  }

  /** Writes a line upward; x is that of its middle. */
  void upward(String text, double x, double y, Color color) {
    AffineTransform before = graphics.getTransform();
    graphics.translate(x, y);
    graphics.rotate(-Math.PI / 2);
    words(text, 0, 0, Side.CENTRE, color);
    graphics.setTransform(before);
  }

  private void text(String text, double x, double y, Side side, Font font, Color color) {
    graphics.setFont(font);
    graphics.setColor(color);
    double shift =
        switch (side) {
          case LEFT -> 0;
          case CENTRE -> width(text, font) / 2;
          case RIGHT -> width(text, font);
        };
    graphics.drawString(text, (float) (x - shift), (float) y);
  }

  void line(double x0, double y0, double x1, double y1, Color color, double thickness) {
    graphics.setColor(color);
    graphics.setStroke(
        new BasicStroke((float) thickness, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
    graphics.draw(new Line2D.Double(x0, y0, x1, y1));
  }

  /** Ends the drawing. */
  BufferedImage image() {
    return image;
  }

  @Override
  public void close() {
    graphics.dispose();
  }
}
