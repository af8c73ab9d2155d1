package fqt.tensor;

/**
 * How a matrix is cut into blocks that share one scale. Every granularity of quantization is a
 * choice of block: per tensor, per row (token or output channel), per column, per group of a row,
 * or square blocks. The last block of a row or column may be smaller.
 *
 * @param rows rows of a block; 0 means all
 * @param columns columns of a block; 0 means all
 */
public record Blocks(long rows, long columns) {
  /** One scale for the whole matrix. */
  public static final Blocks PER_TENSOR = new Blocks(0, 0);

  /** One scale a row: per token for activations, per output channel for weights. */
  public static final Blocks PER_ROW = new Blocks(1, 0);

  /** One scale a column. */
  public static final Blocks PER_COLUMN = new Blocks(0, 1);

  /**
   * Checks the sizes.
   *
   * @throws IllegalArgumentException if one is negative
   */
  public Blocks {
    if (rows < 0 || columns < 0) {
      throw new IllegalArgumentException("negative block size %d x %d".formatted(rows, columns));
    }
  }

  /** One scale for every {@code groupSize} neighbours of a row; −1 means the whole row. */
  public static Blocks perGroup(long groupSize) {
    return groupSize == -1 ? PER_ROW : new Blocks(1, groupSize);
  }

  /** Shape of the scales of a matrix of the given size. */
  public Shape scaleShape(long matrixRows, long matrixColumns) {
    return Shape.of(
        Math.ceilDiv(matrixRows, rowsOf(matrixRows)),
        Math.ceilDiv(matrixColumns, columnsOf(matrixColumns)));
  }

  /** Rows of a block in a matrix of that many rows; at least 1. */
  public long rowsOf(long matrixRows) {
    return Math.max(1, rows == 0 ? matrixRows : Math.min(rows, matrixRows));
  }

  /** Columns of a block in a matrix of that many columns; at least 1. */
  public long columnsOf(long matrixColumns) {
    return Math.max(1, columns == 0 ? matrixColumns : Math.min(columns, matrixColumns));
  }
}
