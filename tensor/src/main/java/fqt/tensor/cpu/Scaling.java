package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.ScaleKernel;
import java.lang.foreign.MemorySegment;

/**
 * What makes results of integer sums: {@code sum * (rowScale * columnScale) + bias}.
 *
 * @param rows F32, one a row
 * @param columns F32, one a column, filled up to whole strips
 * @param bias the same, or null
 */
record Scaling(ScaleKernel kernel, MemorySegment rows, MemorySegment columns, MemorySegment bias) {
  /**
   * Scales some rows of strips that are neighbours.
   *
   * @param sums address of those of the first strip, side by side
   * @param pitch distance of two strips of sums, in bytes
   * @param excess address of what the sums of each column have too much
   * @param to address of the first result
   * @param stride distance of two rows of results, in bytes
   */
  void apply(
      long row,
      int count,
      long column,
      int strips,
      long sums,
      long pitch,
      long excess,
      long to,
      long stride) {
    kernel.scale(
        count,
        strips,
        sums,
        pitch,
        to,
        stride,
        rows.address() + row * Float.BYTES,
        columns.address() + column * Float.BYTES,
        excess,
        bias == null ? 0 : bias.address() + column * Float.BYTES);
  }
}
