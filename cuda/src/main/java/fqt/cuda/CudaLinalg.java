package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Shape;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;

/** Symmetric products and triangular matrices on one GPU (triangular.cu). */
final class CudaLinalg {
  private static final String TRIANGULAR = "triangular_sm80";
  private static final long BLOCK = 128;
  private static final int DIAGONAL_THREADS = 512;
  private static final long MIRROR_TILE = 32;

  private final Launcher launcher;
  private final CudaSyrk syrk;

  CudaLinalg(Launcher launcher) {
    this.launcher = launcher;
    syrk = new CudaSyrk(launcher);
  }

  void syrk(float alpha, Tensor x, float beta, Tensor out) {
    requireRows(out, "out");
    syrk.multiply(alpha, x, beta, out, true);
  }

  void lowerSyrk(float alpha, Tensor x, float beta, Tensor out) {
    requireRows(out, "out");
    syrk.multiply(alpha, x, beta, out, false);
  }

  /** Copies the lower triangle to the upper one. */
  void completeSyrk(Tensor out) {
    requireRows(out, "out");
    long tiles = Math.ceilDiv(out.dim(0), MIRROR_TILE);
    launcher.run(
        TRIANGULAR,
        "mirror_lower",
        tiles,
        tiles,
        Launcher.THREADS,
        0,
        Launcher.address(out),
        out.stride(0),
        out.dim(0));
  }

  /**
   * The lower factor, by blocks of columns: the block on the diagonal, the columns below it, what
   * they take away from the rest. The host looks only at the end whether a pivot was bad.
   */
  long cholesky(Tensor a) {
    requireRows(a, "a");
    long size = a.dim(0);
    Storage failed = launcher.context().allocate(Long.BYTES);
    Storage inverse = launcher.context().allocate(BLOCK * BLOCK * Float.BYTES);
    try (Arena arena = Arena.ofConfined()) {
      launcher.context().fill(failed, (byte) -1);
      for (long from = 0; from < size; from += BLOCK) {
        column(a, from, inverse.address(), failed.address());
      }
      launcher.run(
          TRIANGULAR,
          "clear_above",
          Launcher.blocks(size),
          Math.min(size, 65_535),
          Launcher.THREADS,
          0,
          Launcher.address(a),
          a.stride(0),
          size);
      Tensor pivot = Tensor.of(arena.allocate(Long.BYTES, 8), DType.I64, Shape.of(1));
      launcher.context().download(Tensor.of(failed, DType.I64, Shape.of(1)), pivot);
      return pivot.getLong(0);
    } finally {
      inverse.release();
      failed.release();
    }
  }

  private void column(Tensor a, long from, long inverse, long failed) {
    long size = a.dim(0);
    launcher.run(
        TRIANGULAR,
        "cholesky_diagonal",
        1,
        1L,
        DIAGONAL_THREADS,
        0,
        Launcher.address(a),
        a.stride(0),
        from,
        size,
        inverse,
        failed);
    long to = from + BLOCK;
    if (to >= size) {
      return;
    }
    Tensor panel = a.slice(0, to, size).slice(1, from, to);
    Tensor rest = a.slice(0, to, size).slice(1, to, size);
    long tiles = tiles(size - to);
    launcher.run(
        TRIANGULAR,
        "cholesky_panel",
        tiles,
        Launcher.THREADS,
        Launcher.address(panel),
        a.stride(0),
        size - to,
        inverse,
        failed);
    launcher.run(
        TRIANGULAR,
        "cholesky_rest",
        triangle(tiles),
        Launcher.THREADS,
        Launcher.address(rest),
        Launcher.address(panel),
        a.stride(0),
        size - to,
        failed);
  }

  /** The inverse: of all blocks on the diagonal first, then of blocks of twice the width. */
  void invertLower(Tensor l, Tensor out) {
    requireRows(l, "l");
    requireRows(out, "out");
    long size = l.dim(0);
    launcher.run(
        TRIANGULAR,
        "clear_above",
        Launcher.blocks(size),
        Math.min(size, 65_535),
        Launcher.THREADS,
        0,
        Launcher.address(out),
        out.stride(0),
        size);
    launcher.run(
        TRIANGULAR,
        "invert_diagonal",
        tiles(size),
        1L,
        DIAGONAL_THREADS,
        0,
        Launcher.address(l),
        Launcher.address(out),
        l.stride(0),
        out.stride(0),
        size);
    for (long width = BLOCK; width < size; width *= 2) {
      join(l, out, width);
    }
  }

  private void join(Tensor l, Tensor out, long width) {
    long size = l.dim(0);
    long pairs = Math.ceilDiv(size - width, 2 * width);
    long rows = Math.min(width, size - (2 * pairs - 1) * width);
    long elements = ((pairs - 1) * width + rows) * width;
    Storage between = launcher.context().allocate(elements * Float.BYTES);
    try {
      long tiles = tiles(pairs > 1 ? width : rows) * tiles(width);
      launcher.run(
          TRIANGULAR,
          "invert_first",
          tiles,
          pairs,
          Launcher.THREADS,
          0,
          Launcher.address(l),
          Launcher.address(out),
          between.address(),
          l.stride(0),
          out.stride(0),
          width,
          size);
      launcher.run(
          TRIANGULAR,
          "invert_second",
          tiles,
          pairs,
          Launcher.THREADS,
          0,
          Launcher.address(out),
          between.address(),
          out.stride(0),
          width,
          size);
    } finally {
      between.release();
    }
  }

  private static long tiles(long size) {
    return Math.ceilDiv(size, BLOCK);
  }

  private static long triangle(long tiles) {
    return tiles * (tiles + 1) / 2;
  }

  private static void requireRows(Tensor x, String name) {
    Checks.require(
        x.dtype() == DType.F32 && (x.stride(1) == 1 || x.dim(1) <= 1),
        "%s is %s with %d elements between columns; a GPU expects F32 rows without gaps",
        name,
        x,
        x.stride(1));
  }
}
