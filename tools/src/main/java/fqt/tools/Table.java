package fqt.tools;

import java.util.ArrayList;
import java.util.List;

/** Text columns: numbers stand to the right, everything else to the left. */
final class Table {
  private final List<String[]> rows = new ArrayList<>();

  /** A table with the given column titles. */
  Table(String... titles) {
    rows.add(titles);
  }

  /** Adds a row of as many cells as there are titles. */
  Table row(Object... cells) {
    if (cells.length != rows.getFirst().length) {
      throw new IllegalArgumentException(
          cells.length + " cells in a table of " + rows.getFirst().length + " columns");
    }
    String[] row = new String[cells.length];
    for (int i = 0; i < cells.length; i++) {
      row[i] = String.valueOf(cells[i]);
    }
    rows.add(row);
    return this;
  }

  /** The lines, without trailing blanks. */
  @Override
  public String toString() {
    int columns = rows.getFirst().length;
    int[] width = new int[columns];
    boolean[] numeric = new boolean[columns];
    for (int c = 0; c < columns; c++) {
      numeric[c] = rows.size() > 1;
      for (int r = 0; r < rows.size(); r++) {
        String cell = rows.get(r)[c];
        width[c] = Math.max(width[c], cell.codePointCount(0, cell.length()));
        numeric[c] &= r == 0 || startsLikeNumber(cell);
      }
    }
    StringBuilder text = new StringBuilder();
    for (String[] row : rows) {
      StringBuilder line = new StringBuilder();
      for (int c = 0; c < columns; c++) {
        String pad = " ".repeat(width[c] - row[c].codePointCount(0, row[c].length()));
        line.append(c == 0 ? "" : "  ").append(numeric[c] ? pad + row[c] : row[c] + pad);
      }
      text.append(line.toString().stripTrailing()).append(System.lineSeparator());
    }
    return text.toString();
  }

  private static boolean startsLikeNumber(String cell) {
    return cell.isEmpty() || cell.matches("[-+−]?\\d.*|–|NaN|[-+]?Infinity");
  }
}
