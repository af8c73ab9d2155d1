package fqt.tensor.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** Copies blocks of operands into the layouts that the kernels of {@link Panels} read. */
final class Packing {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;

  /** Columns of b that one call packs. */
  static final int STRIP = 64;

  /** Terms that are read at a time when the terms of a sum are not neighbours in memory. */
  private static final int BATCH = 32;

  private Packing() {}

  /**
   * Packs rows of a, one after the other, {@link Gemm#A_STRIDE} apart.
   *
   * @param to the rest of the last tile of rows is not touched
   */
  static void left(Operand a, long row, int rows, long term, int depth, float[] to) {
    if (!a.outerIsDense()) {
      for (int r = 0; r < rows; r++) {
        a.readInner(row + r, term, depth, to, r * Gemm.A_STRIDE);
      }
      return;
    }
    float[] batch = new float[BATCH * rows];
    for (int done = 0; done < depth; done += BATCH) {
      int size = Math.min(BATCH, depth - done);
      for (int k = 0; k < size; k++) {
        a.readOuter(row, term + done + k, rows, batch, k * rows);
      }
      Transpose.copy(batch, 0, rows, size, rows, to, done, Gemm.A_STRIDE);
    }
  }

  /**
   * Packs columns of b in strips of {@link GemmKernel#COLUMNS}, each {@code [depth][COLUMNS]}.
   *
   * @param to zeros where columns fill up the last strip; they remain
   */
  static void right(Operand b, long column, int columns, long term, int depth, float[] to) {
    if (b.outerIsDense()) {
      rightByTerms(b, column, columns, term, depth, to);
    } else {
      rightByColumns(b, column, columns, term, depth, to);
    }
  }

  private static void rightByColumns(
      Operand b, long column, int columns, long term, int depth, float[] to) {
    float[] lines = new float[Math.min(columns, GemmKernel.COLUMNS) * Gemm.A_STRIDE];
    for (int done = 0; done < columns; done += GemmKernel.COLUMNS) {
      int width = Math.min(GemmKernel.COLUMNS, columns - done);
      for (int c = 0; c < width; c++) {
        b.readInner(column + done + c, term, depth, lines, c * Gemm.A_STRIDE);
      }
      Transpose.copy(lines, 0, Gemm.A_STRIDE, width, depth, to, done * depth, GemmKernel.COLUMNS);
    }
  }

  private static void rightByTerms(
      Operand b, long column, int columns, long term, int depth, float[] to) {
    float[] line = new float[Gemm.roundUp(columns, GemmKernel.COLUMNS)];
    for (int k = 0; k < depth; k++) {
      b.readOuter(column, term + k, columns, line, 0);
      for (int done = 0; done < columns; done += GemmKernel.COLUMNS) {
        copyTerm(line, done, to, done * depth + k * GemmKernel.COLUMNS);
      }
    }
  }

  private static void copyTerm(float[] from, int start, float[] to, int at) {
    FloatVector.fromArray(SPECIES, from, start).intoArray(to, at);
    FloatVector.fromArray(SPECIES, from, start + SPECIES.length())
        .intoArray(to, at + SPECIES.length());
  }
}
