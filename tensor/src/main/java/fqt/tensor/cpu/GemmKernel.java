package fqt.tensor.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The innermost loop of every matrix product: a tile of {@link #ROWS} x {@link #COLUMNS} sums that
 * stays in vector registers while a strip of a and a strip of b run past it.
 *
 * <p>The strips are heap arrays and the methods are small on purpose. Larger kernels, and kernels
 * over memory segments, sometimes make the C1 compiler give up ("out of virtual registers"), after
 * which the method never reaches C2 and runs a hundred times slower until the JVM ends. The rows of
 * a are found by adding a stride that is no constant: with constant distances C2 loads the values
 * of all rows before the first multiplication, more than 16 registers hold, and the spilling halves
 * the speed.
 */
final class GemmKernel {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();

  /** Rows of a tile. Machines with 512-bit vectors have 32 vector registers, others count on 16. */
  static final int ROWS = SPECIES.vectorBitSize() >= 512 ? 8 : 6;

  /** Columns of a tile: two vectors. */
  static final int COLUMNS = 2 * LANES;

  private GemmKernel() {}

  /**
   * {@code tile[r][c] = Σ_k a[aAt + r * aStride + k] * b[bAt + k * COLUMNS + c]}, k ascending.
   *
   * @param tile ROWS x COLUMNS, overwritten
   */
  static void multiply(
      int depth, float[] a, int aAt, int aStride, float[] b, int bAt, float[] tile) {
    if (ROWS == 8) {
      multiply8(depth, a, aAt, aStride, b, bAt, tile);
    } else {
      multiply6(depth, a, aAt, aStride, b, bAt, tile);
    }
  }

  /** The shape for 16 vector registers: 12 sums, 2 vectors of b, 1 value of a. */
  private static void multiply6(
      int depth, float[] a, int aAt, int aStride, float[] b, int bAt, float[] tile) {
    FloatVector c0 = FloatVector.zero(SPECIES);
    FloatVector d0 = FloatVector.zero(SPECIES);
    FloatVector c1 = FloatVector.zero(SPECIES);
    FloatVector d1 = FloatVector.zero(SPECIES);
    FloatVector c2 = FloatVector.zero(SPECIES);
    FloatVector d2 = FloatVector.zero(SPECIES);
    FloatVector c3 = FloatVector.zero(SPECIES);
    FloatVector d3 = FloatVector.zero(SPECIES);
    FloatVector c4 = FloatVector.zero(SPECIES);
    FloatVector d4 = FloatVector.zero(SPECIES);
    FloatVector c5 = FloatVector.zero(SPECIES);
    FloatVector d5 = FloatVector.zero(SPECIES);
    int lower = aAt + 3 * aStride;
    for (int k = 0; k < depth; k++) {
      int i = aAt + k;
      int j = lower + k;
      FloatVector u = FloatVector.fromArray(SPECIES, b, bAt + k * COLUMNS);
      FloatVector v = FloatVector.fromArray(SPECIES, b, bAt + k * COLUMNS + LANES);
      FloatVector x = FloatVector.broadcast(SPECIES, a[i]);
      c0 = x.fma(u, c0);
      d0 = x.fma(v, d0);
      x = FloatVector.broadcast(SPECIES, a[i + aStride]);
      c1 = x.fma(u, c1);
      d1 = x.fma(v, d1);
      x = FloatVector.broadcast(SPECIES, a[i + 2 * aStride]);
      c2 = x.fma(u, c2);
      d2 = x.fma(v, d2);
      x = FloatVector.broadcast(SPECIES, a[j]);
      c3 = x.fma(u, c3);
      d3 = x.fma(v, d3);
      x = FloatVector.broadcast(SPECIES, a[j + aStride]);
      c4 = x.fma(u, c4);
      d4 = x.fma(v, d4);
      x = FloatVector.broadcast(SPECIES, a[j + 2 * aStride]);
      c5 = x.fma(u, c5);
      d5 = x.fma(v, d5);
    }
    c0.intoArray(tile, 0);
    d0.intoArray(tile, LANES);
    c1.intoArray(tile, COLUMNS);
    d1.intoArray(tile, COLUMNS + LANES);
    c2.intoArray(tile, 2 * COLUMNS);
    d2.intoArray(tile, 2 * COLUMNS + LANES);
    c3.intoArray(tile, 3 * COLUMNS);
    d3.intoArray(tile, 3 * COLUMNS + LANES);
    c4.intoArray(tile, 4 * COLUMNS);
    d4.intoArray(tile, 4 * COLUMNS + LANES);
    c5.intoArray(tile, 5 * COLUMNS);
    d5.intoArray(tile, 5 * COLUMNS + LANES);
  }

  /** The shape for 32 vector registers: 16 sums, 2 vectors of b, 1 value of a. */
  private static void multiply8(
      int depth, float[] a, int aAt, int aStride, float[] b, int bAt, float[] tile) {
    FloatVector c0 = FloatVector.zero(SPECIES);
    FloatVector d0 = FloatVector.zero(SPECIES);
    FloatVector c1 = FloatVector.zero(SPECIES);
    FloatVector d1 = FloatVector.zero(SPECIES);
    FloatVector c2 = FloatVector.zero(SPECIES);
    FloatVector d2 = FloatVector.zero(SPECIES);
    FloatVector c3 = FloatVector.zero(SPECIES);
    FloatVector d3 = FloatVector.zero(SPECIES);
    FloatVector c4 = FloatVector.zero(SPECIES);
    FloatVector d4 = FloatVector.zero(SPECIES);
    FloatVector c5 = FloatVector.zero(SPECIES);
    FloatVector d5 = FloatVector.zero(SPECIES);
    FloatVector c6 = FloatVector.zero(SPECIES);
    FloatVector d6 = FloatVector.zero(SPECIES);
    FloatVector c7 = FloatVector.zero(SPECIES);
    FloatVector d7 = FloatVector.zero(SPECIES);
    int lower = aAt + 4 * aStride;
    for (int k = 0; k < depth; k++) {
      int i = aAt + k;
      int j = lower + k;
      FloatVector u = FloatVector.fromArray(SPECIES, b, bAt + k * COLUMNS);
      FloatVector v = FloatVector.fromArray(SPECIES, b, bAt + k * COLUMNS + LANES);
      FloatVector x = FloatVector.broadcast(SPECIES, a[i]);
      c0 = x.fma(u, c0);
      d0 = x.fma(v, d0);
      x = FloatVector.broadcast(SPECIES, a[i + aStride]);
      c1 = x.fma(u, c1);
      d1 = x.fma(v, d1);
      x = FloatVector.broadcast(SPECIES, a[i + 2 * aStride]);
      c2 = x.fma(u, c2);
      d2 = x.fma(v, d2);
      x = FloatVector.broadcast(SPECIES, a[i + 3 * aStride]);
      c3 = x.fma(u, c3);
      d3 = x.fma(v, d3);
      x = FloatVector.broadcast(SPECIES, a[j]);
      c4 = x.fma(u, c4);
      d4 = x.fma(v, d4);
      x = FloatVector.broadcast(SPECIES, a[j + aStride]);
      c5 = x.fma(u, c5);
      d5 = x.fma(v, d5);
      x = FloatVector.broadcast(SPECIES, a[j + 2 * aStride]);
      c6 = x.fma(u, c6);
      d6 = x.fma(v, d6);
      x = FloatVector.broadcast(SPECIES, a[j + 3 * aStride]);
      c7 = x.fma(u, c7);
      d7 = x.fma(v, d7);
    }
    c0.intoArray(tile, 0);
    d0.intoArray(tile, LANES);
    c1.intoArray(tile, COLUMNS);
    d1.intoArray(tile, COLUMNS + LANES);
    c2.intoArray(tile, 2 * COLUMNS);
    d2.intoArray(tile, 2 * COLUMNS + LANES);
    c3.intoArray(tile, 3 * COLUMNS);
    d3.intoArray(tile, 3 * COLUMNS + LANES);
    c4.intoArray(tile, 4 * COLUMNS);
    d4.intoArray(tile, 4 * COLUMNS + LANES);
    c5.intoArray(tile, 5 * COLUMNS);
    d5.intoArray(tile, 5 * COLUMNS + LANES);
    c6.intoArray(tile, 6 * COLUMNS);
    d6.intoArray(tile, 6 * COLUMNS + LANES);
    c7.intoArray(tile, 7 * COLUMNS);
    d7.intoArray(tile, 7 * COLUMNS + LANES);
  }
}
