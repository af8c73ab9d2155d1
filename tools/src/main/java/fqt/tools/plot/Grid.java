package fqt.tools.plot;

import fqt.tensor.Tensor;

/**
 * Magnitudes of a matrix on a grid that is small enough to be drawn: each cell has the largest
 * magnitude of those that fall into it, so that an outlier stays as tall as it is.
 *
 * @param rows of the grid, at most those of the tensor
 * @param columns of the grid
 * @param cells magnitudes, row after row; 0 where nothing finite falls
 * @param sourceRows rows of the tensor
 * @param sourceColumns columns of the tensor
 */
public record Grid(int rows, int columns, float[] cells, long sourceRows, long sourceColumns) {
  /**
   * Reduces a tensor, all of its dimensions but the last being rows.
   *
   * @param tensor of any type and device
   * @param maxRows of the grid
   * @param maxColumns of the grid
   * @return the largest magnitudes of each cell; never more rows or columns than the tensor has
   * @throws IllegalArgumentException if the tensor holds nothing
   */
  public static Grid of(Tensor tensor, int maxRows, int maxColumns) {
    if (tensor.count() == 0) {
      throw new IllegalArgumentException("nothing to plot: the tensor is " + tensor);
    }
    long sourceColumns = tensor.rank() == 0 ? 1 : tensor.dim(tensor.rank() - 1);
    long sourceRows = tensor.count() / sourceColumns;
    int rows = (int) Math.min(maxRows, sourceRows);
    int columns = (int) Math.min(maxColumns, sourceColumns);
    float[] cells = new float[rows * columns];
    Values.each(
        tensor,
        (row, column, width, values) -> {
          for (int i = 0; i < values.length; i++) {
            float magnitude = Math.abs(values[i]);
            long r = (row + i / width) * rows / sourceRows;
            int cell = (int) (r * columns + (column + i % width) * columns / sourceColumns);
            if (magnitude > cells[cell] && magnitude <= Float.MAX_VALUE) {
              cells[cell] = magnitude;
            }
          }
        });
    return new Grid(rows, columns, cells, sourceRows, sourceColumns);
  }

  /**
   * {@return the magnitude of a cell}
   *
   * @param row from 0
   * @param column from 0
   */
  public float at(int row, int column) {
    return cells[row * columns + column];
  }

  /** {@return the largest magnitude} */
  public float max() {
    float max = 0;
    for (float cell : cells) {
      max = Math.max(max, cell);
    }
    return max;
  }
}
