package fqt.tensor.cpu;

import java.lang.foreign.MemorySegment;

/**
 * The packed blocks of one product in flight, and the kernel that multiplies them. There is one
 * implementation a tier; the rest of {@link Gemm} does not know which.
 *
 * <p>Rows of a are packed pass by pass, {@link Gemm#A_STRIDE} apart. Columns of b are packed in
 * strips {@code [terms][GemmKernel.COLUMNS]}, all passes of one strip behind each other.
 */
sealed interface Panels permits VectorPanels, MachinePanels {
  /** Rows of a tile; packed rows of a are filled up to a multiple of them. */
  int tileRows();

  /** Tasks of a block, if they can be that small: how evenly threads share the work. */
  default int tasks() {
    return Gemm.TASKS;
  }

  /** How many columns one task computes at most, given the terms of a block. */
  default int taskColumns(int terms) {
    return Gemm.TASK_COLUMNS;
  }

  /** What the columns of a task are a multiple of: the columns of a tile, at least. */
  default int columnStep() {
    return GemmKernel.COLUMNS;
  }

  /**
   * Makes room for a block of a.
   *
   * @param rows whole tiles
   * @param terms of the largest block
   * @param depth of a pass
   */
  void begin(Operand a, int rows, int terms, int depth);

  /**
   * Takes a right-hand side that is packed whole, or makes room for a block of it.
   *
   * @param kept all of b, packed or about to be, or null
   * @param columns of the largest block, whole strips
   */
  void useRight(MemorySegment kept, int columns, Operand b);

  /**
   * Copies rows of a that need no conversion, with zeros up to the end of the last tile.
   *
   * @return false, with nothing done, if they need one
   */
  default boolean copyLeft(Operand a, Gemm.Block block, int row, int rows) {
    return false;
  }

  /** The same for whole strips of columns of b. */
  default boolean copyRight(Operand b, Gemm.Block block, int column, int columns) {
    return false;
  }

  /** Keeps packed rows of one pass over a, the first {@code count} numbers. */
  void left(float[] rows, int count, int pass, int row);

  /** Keeps one pass over a packed strip of b, the numbers from {@code at} on. */
  void right(float[] strip, int at, Gemm.Block block, int column, int pass);

  /** Called when some columns of b are packed. */
  default void finishRight(Gemm.Block block, int column, int columns) {}

  /**
   * Multiplies rows and columns of a block, counted from its corner, and adds them to the result.
   */
  void multiply(Result out, Gemm.Block block, int row, int endRow, int column, int endColumn);
}
