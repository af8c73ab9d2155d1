package fqt.tensor.cpu;

/**
 * The packed blocks of one product in flight, and the kernel that multiplies them. There is one
 * implementation a tier; the rest of {@link Gemm} does not know which.
 */
sealed interface Panels permits VectorPanels, MachinePanels {
  /** Rows of a tile; packed rows of a are filled up to a multiple of them. */
  int tileRows();

  /** Makes room for so many numbers of a and of b. */
  void reserve(int a, int b);

  /**
   * Copies rows of a that need no conversion, with zeros up to the end of the last tile.
   *
   * @return false, with nothing done, if they need one
   */
  default boolean copyLeft(Operand a, Gemm.Pass pass, int row, int rows) {
    return false;
  }

  /** The same for whole strips of columns of b. */
  default boolean copyRight(Operand b, Gemm.Pass pass, int column, int columns) {
    return false;
  }

  /** Keeps packed rows of a. */
  void left(float[] strip, int count, int at);

  /** Keeps packed strips of b. */
  void right(float[] strip, int count, int at);

  /**
   * Multiplies rows and columns of a pass, counted from its corner, and adds them to the result.
   */
  void multiply(Result out, Gemm.Pass pass, int row, int endRow, int column, int endColumn);
}
