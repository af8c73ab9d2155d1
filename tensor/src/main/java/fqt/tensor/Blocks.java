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

  /**
   * {@return one scale for every few neighbours of a row}
   *
   * @param groupSize how many columns share a scale; −1 means the whole row
   */
  public static Blocks perGroup(long groupSize) {
    return groupSize == -1 ? PER_ROW : new Blocks(1, groupSize);
  }

  /**
   * {@return the shape of a matrix's scales: block rows by block columns}
   *
   * @param matrixRows rows of the matrix
   * @param matrixColumns columns of the matrix
   */
  public Shape scaleShape(long matrixRows, long matrixColumns) {
    return Shape.of(
        Math.ceilDiv(matrixRows, rowsOf(matrixRows)),
        Math.ceilDiv(matrixColumns, columnsOf(matrixColumns)));
  }

  /**
   * {@return rows of a block, no more than the matrix has, at least 1}
   *
   * @param matrixRows rows of the matrix
   */
  public long rowsOf(long matrixRows) {
    return Math.max(1, rows == 0 ? matrixRows : Math.min(rows, matrixRows));
  }

  /**
   * {@return columns of a block, no more than the matrix has, at least 1}
   *
   * @param matrixColumns columns of the matrix
   */
  public long columnsOf(long matrixColumns) {
    return Math.max(1, columns == 0 ? matrixColumns : Math.min(columns, matrixColumns));
  }
}
