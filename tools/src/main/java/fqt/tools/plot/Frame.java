package fqt.tools.plot;

import java.awt.geom.Rectangle2D;

/**
 * The frame of a flat plot: two axes with ticks, grid lines and names.
 *
 * @param x horizontal axis
 * @param y vertical axis
 */
record Frame(Ticks x, Ticks y) {
  static final double LEFT = 92;
  static final double TOP = 84;
  static final double RIGHT = Sheet.WIDTH - 32.0;
  static final double BOTTOM = Sheet.HEIGHT - 66.0;

  double x(double value) {
    return LEFT + x.place(value) * (RIGHT - LEFT);
  }

  double y(double value) {
    return BOTTOM - y.place(value) * (BOTTOM - TOP);
  }

  /** Draws wall, grid lines, labels and the names of the axes. */
  void draw(Sheet sheet, String nameOfX, String nameOfY) {
    sheet.graphics().setColor(Sheet.WALL);
    sheet.graphics().fill(new Rectangle2D.Double(LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP));
    for (Ticks.Tick tick : y.ticks()) {
      double at = y(tick.value());
      sheet.line(LEFT, at, RIGHT, at, Sheet.LINE, 1);
      sheet.words(tick.label(), LEFT - 10, at, Sheet.Side.RIGHT, Sheet.MUTED);
    }
    for (Ticks.Tick tick : x.ticks()) {
      double at = x(tick.value());
      sheet.line(at, BOTTOM, at, BOTTOM + 5, Sheet.MUTED, 1);
      sheet.words(tick.label(), at, BOTTOM + 16, Sheet.Side.CENTRE, Sheet.MUTED);
    }
    sheet.line(LEFT, BOTTOM, RIGHT, BOTTOM, Sheet.MUTED, 1);
    sheet.words(nameOfX, (LEFT + RIGHT) / 2, BOTTOM + 42, Sheet.Side.CENTRE, Sheet.INK);
    sheet.upward(nameOfY, 26, (TOP + BOTTOM) / 2, Sheet.INK);
  }
}
