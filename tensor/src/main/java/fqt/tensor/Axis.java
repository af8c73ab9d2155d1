package fqt.tensor;

/** What a reduction of a matrix leaves. */
public enum Axis {
  /** One number a row. */
  ROWS,
  /** One number a column. */
  COLUMNS
}
