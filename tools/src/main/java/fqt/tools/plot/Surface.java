package fqt.tools.plot;

import fqt.tensor.Tensor;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.geom.Path2D;
import java.awt.geom.Point2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;

/**
 * Magnitudes of a matrix as a surface over rows and columns, seen from the front corner a little
 * from above. Distances do not shrink (orthographic projection), so that heights can be compared,
 * and cells are painted from the farthest to the nearest.
 */
final class Surface {
  private static final int ROWS = 96;
  private static final int COLUMNS = 144;

  /** Lengths of the box along columns, rows and up. */
  private static final double[] BOX = {1.35, 1.0, 0.66};

  private static final double TURN = Math.toRadians(33);
  private static final double TILT = Math.toRadians(30);

  private final Tensor tensor;
  private final Grid grid;
  private final Ticks height;
  private double scale;
  private double originX;
  private double originY;

  Surface(Tensor tensor) {
    if (tensor.rank() < 2) {
      throw new IllegalArgumentException(
          "a surface needs two dimensions or more; the tensor is " + tensor);
    }
    this.tensor = tensor;
    grid = Grid.of(tensor, ROWS, COLUMNS);
    height = Ticks.around(0, grid.max() > 0 ? grid.max() : 1, 6);
    fit(108, 78, Sheet.WIDTH - 128.0, Sheet.HEIGHT - 62.0);
  }

  /** Chooses scale and origin so that the box fills a rectangle. */
  private void fit(double left, double top, double right, double bottom) {
    scale = 1;
    Rectangle2D bounds = null;
    for (int corner = 0; corner < 8; corner++) {
      Point2D p = project(corner & 1, corner >> 1 & 1, corner >> 2);
      if (bounds == null) {
        bounds = new Rectangle2D.Double(p.getX(), p.getY(), 0, 0);
      } else {
        bounds.add(p);
      }
    }
    scale = Math.min((right - left) / bounds.getWidth(), (bottom - top) / bounds.getHeight());
    originX = (left + right) / 2 - scale * bounds.getCenterX();
    originY = (top + bottom) / 2 - scale * bounds.getCenterY();
  }

  /** A point of the box, each of its coordinates between 0 and 1, on the sheet. */
  private Point2D project(double column, double row, double up) {
    double x = column * BOX[0];
    double y = row * BOX[1];
    double across = x * Math.cos(TURN) - y * Math.sin(TURN);
    double away = x * Math.sin(TURN) + y * Math.cos(TURN);
    double upward = up * BOX[2] * Math.cos(TILT) + away * Math.sin(TILT);
    return new Point2D.Double(originX + scale * across, originY - scale * upward);
  }

  BufferedImage draw(String title) {
    String line = "magnitudes · " + Summary.of(tensor).line(tensor);
    boolean reduced = grid.rows() < grid.sourceRows() || grid.columns() < grid.sourceColumns();
    if (reduced) {
      line += " · drawn as largest of each cell of %d × %d".formatted(grid.rows(), grid.columns());
    }
    try (Sheet sheet = new Sheet(title, line)) {
      walls(sheet);
      cells(sheet.graphics());
      labels(sheet);
      colours(sheet);
      return sheet.image();
    }
  }

  private void walls(Sheet sheet) {
    face(sheet, new double[][] {{0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {0, 1, 0}}, new Color(0xf1f3f6));
    face(sheet, new double[][] {{0, 1, 0}, {1, 1, 0}, {1, 1, 1}, {0, 1, 1}}, Sheet.WALL);
    face(sheet, new double[][] {{1, 0, 0}, {1, 1, 0}, {1, 1, 1}, {1, 0, 1}}, new Color(0xfafbfc));
    for (Ticks.Tick tick : height.ticks()) {
      double up = height.place(tick.value());
      line(sheet, new double[] {0, 1, up}, new double[] {1, 1, up}, Sheet.LINE);
      line(sheet, new double[] {1, 0, up}, new double[] {1, 1, up}, Sheet.LINE);
    }
    for (Ticks.Tick tick : columnTicks().ticks()) {
      double at = columnTicks().place(tick.value());
      line(sheet, new double[] {at, 0, 0}, new double[] {at, 1, 0}, Sheet.LINE);
      line(sheet, new double[] {at, 1, 0}, new double[] {at, 1, 1}, Sheet.LINE);
    }
    for (Ticks.Tick tick : rowTicks().ticks()) {
      double at = rowTicks().place(tick.value());
      line(sheet, new double[] {0, at, 0}, new double[] {1, at, 0}, Sheet.LINE);
      line(sheet, new double[] {1, at, 0}, new double[] {1, at, 1}, Sheet.LINE);
    }
  }

  private Ticks columnTicks() {
    return Ticks.indices(grid.sourceColumns(), 8);
  }

  private Ticks rowTicks() {
    return Ticks.indices(grid.sourceRows(), 6);
  }

  private void face(Sheet sheet, double[][] corners, Color colour) {
    Path2D path = new Path2D.Double();
    for (double[] corner : corners) {
      Point2D p = project(corner[0], corner[1], corner[2]);
      if (path.getCurrentPoint() == null) {
        path.moveTo(p.getX(), p.getY());
      } else {
        path.lineTo(p.getX(), p.getY());
      }
    }
    path.closePath();
    sheet.graphics().setColor(colour);
    sheet.graphics().fill(path);
  }

  private void line(Sheet sheet, double[] from, double[] to, Color colour) {
    Point2D a = project(from[0], from[1], from[2]);
    Point2D b = project(to[0], to[1], to[2]);
    sheet.line(a.getX(), a.getY(), b.getX(), b.getY(), colour, 1);
  }

  /** From the back corner to the front one. */
  private void cells(Graphics2D graphics) {
    graphics.setStroke(new BasicStroke(0.35f));
    for (int row = Math.max(1, grid.rows() - 1) - 1; row >= 0; row--) {
      for (int column = Math.max(1, grid.columns() - 1) - 1; column >= 0; column--) {
        cell(graphics, row, column);
      }
    }
  }

  /** Steep cells are drawn in pieces, so that a peak has all colours up to its own. */
  private void cell(Graphics2D graphics, int row, int column) {
    int nextRow = Math.min(row + 1, grid.rows() - 1);
    int nextColumn = Math.min(column + 1, grid.columns() - 1);
    double[] z = {
      height.place(grid.at(row, column)),
      height.place(grid.at(row, nextColumn)),
      height.place(grid.at(nextRow, column)),
      height.place(grid.at(nextRow, nextColumn))
    };
    int across = pieces(z[0] - z[1], z[2] - z[3]);
    int along = pieces(z[0] - z[2], z[1] - z[3]);
    for (int i = along - 1; i >= 0; i--) {
      for (int j = across - 1; j >= 0; j--) {
        piece(
            graphics,
            new Rectangle2D.Double(column, row, 1.0 / across, 1.0 / along),
            z,
            (double) j / across,
            (double) i / along);
      }
    }
  }

  /** In how many pieces a step is drawn. */
  private static int pieces(double one, double other) {
    double step = Math.max(Math.abs(one), Math.abs(other));
    return (int) Math.clamp(Math.ceil(step / 0.08), 1, 8);
  }

  /**
   * Draws a piece of a cell.
   *
   * @param cell column and row of the cell, and the size of the piece
   * @param z heights of the cell's corners
   * @param left where in the cell the piece begins, along columns
   * @param front and along rows
   */
  private void piece(Graphics2D graphics, Rectangle2D cell, double[] z, double left, double front) {
    Path2D path = new Path2D.Double();
    double sum = 0;
    double rows = Math.max(1, grid.rows() - 1);
    double columns = Math.max(1, grid.columns() - 1);
    for (int corner = 0; corner < 4; corner++) {
      double u = left + (corner == 1 || corner == 2 ? cell.getWidth() : 0);
      double v = front + (corner >= 2 ? cell.getHeight() : 0);
      double up = (1 - v) * ((1 - u) * z[0] + u * z[1]) + v * ((1 - u) * z[2] + u * z[3]);
      sum += up;
      Point2D p = project((cell.getX() + u) / columns, (cell.getY() + v) / rows, up);
      if (corner == 0) {
        path.moveTo(p.getX(), p.getY());
      } else {
        path.lineTo(p.getX(), p.getY());
      }
    }
    path.closePath();
    // Light comes from the left: what falls away to the right is darker.
    double slope = z[1] + z[3] - z[0] - z[2];
    double light = 1 + Math.clamp(1.2 * slope, -0.16, 0.12);
    graphics.setColor(ColourScale.lit(sum / 4, light));
    graphics.fill(path);
    // Closes the seams between pieces.
    graphics.draw(path);
  }

  private void labels(Sheet sheet) {
    for (Ticks.Tick tick : columnTicks().ticks()) {
      Point2D p = project(columnTicks().place(tick.value()), 0, 0);
      sheet.line(p.getX(), p.getY(), p.getX() + 3, p.getY() + 5, Sheet.MUTED, 1);
      sheet.words(tick.label(), p.getX() + 8, p.getY() + 15, Sheet.Side.CENTRE, Sheet.MUTED);
    }
    for (Ticks.Tick tick : rowTicks().ticks()) {
      Point2D p = project(0, rowTicks().place(tick.value()), 0);
      sheet.line(p.getX(), p.getY(), p.getX() - 5, p.getY() + 3, Sheet.MUTED, 1);
      sheet.words(tick.label(), p.getX() - 9, p.getY() + 9, Sheet.Side.RIGHT, Sheet.MUTED);
    }
    for (Ticks.Tick tick : height.ticks()) {
      if (tick.value() == 0) {
        // The floor needs no number, and there is the last of the rows.
        continue;
      }
      Point2D p = project(0, 1, height.place(tick.value()));
      sheet.line(p.getX(), p.getY(), p.getX() - 5, p.getY(), Sheet.MUTED, 1);
      sheet.words(tick.label(), p.getX() - 9, p.getY(), Sheet.Side.RIGHT, Sheet.MUTED);
    }
    line(sheet, new double[] {0, 0, 0}, new double[] {1, 0, 0}, Sheet.MUTED);
    line(sheet, new double[] {0, 0, 0}, new double[] {0, 1, 0}, Sheet.MUTED);
    line(sheet, new double[] {0, 1, 0}, new double[] {0, 1, 1}, Sheet.MUTED);
    Point2D columns = project(0.5, 0, 0);
    sheet.words("column", columns.getX() + 36, columns.getY() + 40, Sheet.Side.CENTRE, Sheet.INK);
    Point2D rows = project(0, 0.5, 0);
    sheet.words("row", rows.getX() - 44, rows.getY() + 30, Sheet.Side.CENTRE, Sheet.INK);
  }

  private void colours(Sheet sheet) {
    double left = Sheet.WIDTH - 84.0;
    double top = 150;
    double bottom = Sheet.HEIGHT - 150.0;
    for (double y = top; y < bottom; y += 0.5) {
      sheet.graphics().setColor(ColourScale.at((bottom - y) / (bottom - top)));
      sheet.graphics().fill(new Rectangle2D.Double(left, y, 14, 0.6));
    }
    for (Ticks.Tick tick : height.ticks()) {
      double y = bottom - height.place(tick.value()) * (bottom - top);
      sheet.line(left + 14, y, left + 18, y, Sheet.MUTED, 1);
      sheet.words(tick.label(), left + 22, y, Sheet.Side.LEFT, Sheet.MUTED);
    }
  }
}
