package fqt.tensor.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Where the sums of a matrix product go: {@code out = alpha * sum + beta * out + bias}.
 *
 * @param out F32 elements
 * @param offset position of the first one, in elements
 * @param stride distance of two rows, in elements
 * @param bias one value a column, or null
 * @param lowerOnly whether nothing above the diagonal is wanted; tiles that cross it are whole
 * @param scaling for sums of integers, which are finished by it and by nothing else, or null
 */
record Result(
    MemorySegment out,
    long offset,
    long stride,
    float alpha,
    float beta,
    float[] bias,
    boolean lowerOnly,
    Scaling scaling) {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();

  static Result of(Tensor out, float alpha, float beta, float[] bias, boolean lowerOnly) {
    return new Result(
        out.storage().segment(), out.offset(), out.stride(0), alpha, beta, bias, lowerOnly, null);
  }

  /** Where scaled sums of integers go. */
  static Result scaled(Tensor out, Scaling scaling) {
    return new Result(
        out.storage().segment(), out.offset(), out.stride(0), 1, 0, null, false, scaling);
  }

  /** Whether results are the sums and nothing else. */
  boolean isPlain() {
    return alpha == 1 && beta == 0 && bias == null && !lowerOnly;
  }

  /** Whether any element of a block is wanted. */
  boolean wants(long row, int rows, long column) {
    return !lowerOnly || column < row + rows;
  }

  /**
   * Prepares a block for kernels that can set or add {@code alpha * sum} and nothing else: a bias
   * is written first, so that they add to it.
   *
   * @return whether that is all that a pass wants of them; if not, sums come through {@link #add}
   */
  boolean readyForTiles(boolean first, long row, int rows, long column, int columns) {
    if (!first || bias == null) {
      return !first || beta == 0 || beta == 1;
    }
    if (beta != 0) {
      return false;
    }
    for (int r = 0; r < rows; r++) {
      FloatRuns.write(bias, (int) column, columns, out, offset + (row + r) * stride + column);
    }
    return true;
  }

  /** Whether tiles are added to what is there, after {@link #readyForTiles}. */
  boolean keeps(boolean first) {
    return !first || beta == 1 || bias != null;
  }

  /** The address of an element. */
  long at(long row, long column) {
    return out.address() + (offset + row * stride + column) * Float.BYTES;
  }

  /** Copies the first columns of finished rows, which are {@code pitch} bytes apart. */
  void copyRows(MemorySegment from, long pitch, long row, int rows, long column, int columns) {
    for (int r = 0; r < rows; r++) {
      long to = (offset + (row + r) * stride + column) * Float.BYTES;
      MemorySegment.copy(from, r * pitch, out, to, (long) columns * Float.BYTES);
    }
  }

  /** Adds a tile of sums; the first pass over the terms also applies beta and the bias. */
  void add(float[] tile, long row, int rows, long column, int columns, boolean first) {
    float keep = first ? beta : 1;
    float[] shift = first ? bias : null;
    for (int r = 0; r < rows; r++) {
      long at = (offset + (row + r) * stride + column) * Float.BYTES;
      int tileAt = r * GemmKernel.COLUMNS;
      if (columns < GemmKernel.COLUMNS) {
        addPart(tile, tileAt, at, columns, keep, shift, (int) column);
      } else {
        addVector(tile, tileAt, at, keep, shift, (int) column);
        addVector(
            tile, tileAt + LANES, at + SPECIES.vectorByteSize(), keep, shift, (int) column + LANES);
      }
    }
  }

  private void addVector(float[] tile, int from, long at, float keep, float[] shift, int column) {
    FloatVector sum = FloatVector.fromArray(SPECIES, tile, from).mul(alpha);
    if (keep != 0) {
      FloatVector old = FloatVector.fromMemorySegment(SPECIES, out, at, LITTLE_ENDIAN);
      sum = keep == 1 ? sum.add(old) : old.fma(FloatVector.broadcast(SPECIES, keep), sum);
    }
    if (shift != null) {
      sum = sum.add(FloatVector.fromArray(SPECIES, shift, column));
    }
    sum.intoMemorySegment(out, at, LITTLE_ENDIAN);
  }

  private void addPart(
      float[] tile, int from, long at, int columns, float keep, float[] shift, int column) {
    for (int c = 0; c < columns; c++) {
      float sum = tile[from + c] * alpha;
      if (keep != 0) {
        sum = Math.fma(keep, out.get(Element.FLOAT, at + (long) c * Float.BYTES), sum);
      }
      if (shift != null) {
        sum += shift[column + c];
      }
      out.set(Element.FLOAT, at + (long) c * Float.BYTES, sum);
    }
  }

  /**
   * Adds finished sums of one row, which it changes. By plain loops: the compiler makes vectors of
   * them too, and until it does they are a hundred times as fast as vectors that are objects.
   */
  void addRow(float[] sums, long row, int column, int count) {
    long at = (offset + row * stride + column) * Float.BYTES;
    for (int n = 0; n < count; n++) {
      sums[n] *= alpha;
    }
    for (int n = 0; beta != 0 && n < count; n++) {
      sums[n] = Math.fma(beta, out.get(Element.FLOAT, at + (long) n * Float.BYTES), sums[n]);
    }
    for (int n = 0; bias != null && n < count; n++) {
      sums[n] += bias[column + n];
    }
    MemorySegment.copy(sums, 0, out, Element.FLOAT, at, count);
  }

  /** Adds the bias, if there is one, to sums that are in place. */
  void addBias(long row, int column, int count) {
    long at = (offset + row * stride + column) * Float.BYTES;
    int done = 0;
    for (; bias != null && done + LANES <= count; done += LANES) {
      long there = at + (long) done * Float.BYTES;
      FloatVector.fromMemorySegment(SPECIES, out, there, LITTLE_ENDIAN)
          .add(FloatVector.fromArray(SPECIES, bias, column + done))
          .intoMemorySegment(out, there, LITTLE_ENDIAN);
    }
    for (; bias != null && done < count; done++) {
      long there = at + (long) done * Float.BYTES;
      out.set(Element.FLOAT, there, out.get(Element.FLOAT, there) + bias[column + done]);
    }
  }

  /** Adds one finished column of sums. */
  void addColumn(float[] sums, long column) {
    for (int m = 0; m < sums.length; m++) {
      long at = (offset + m * stride + column) * Float.BYTES;
      float sum = alpha * sums[m];
      if (beta != 0) {
        sum = Math.fma(beta, out.get(Element.FLOAT, at), sum);
      }
      if (bias != null) {
        sum += bias[(int) column];
      }
      out.set(Element.FLOAT, at, sum);
    }
  }
}
