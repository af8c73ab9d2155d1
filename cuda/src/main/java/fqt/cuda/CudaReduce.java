package fqt.cuda;

import static fqt.cuda.Launcher.address;

import fqt.tensor.Axis;
import fqt.tensor.ReduceOp;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;

/** Reductions of a matrix to a number a row or a column on one GPU, in pieces and in float64. */
final class CudaReduce {
  private static final String MODULE = "reduce_sm80";
  private static final long ROW_PIECE = 16_384;
  private static final long COLUMN_PIECE = 512;
  private static final long STRIP = 32;
  private static final long MAX_STRIPS = 4096;

  private final Launcher launcher;

  CudaReduce(Launcher launcher) {
    this.launcher = launcher;
  }

  void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out) {
    boolean rows = axis == Axis.ROWS;
    long count = rows ? x.dim(1) : x.dim(0);
    long piece = rows ? ROW_PIECE : COLUMN_PIECE;
    long pieces = Math.ceilDiv(count, piece);
    Storage partial = launcher.context().allocate(out.count() * pieces * Double.BYTES);
    try {
      if (rows) {
        launcher.run(
            MODULE,
            "reduce_rows",
            x.dim(0),
            pieces,
            Launcher.THREADS,
            0,
            op.ordinal(),
            address(x),
            x.dim(1),
            piece,
            partial.address());
      } else {
        launcher.run(
            MODULE,
            "reduce_columns",
            pieces,
            Math.min(MAX_STRIPS, Math.ceilDiv(x.dim(1), STRIP)),
            Launcher.THREADS,
            0,
            op.ordinal(),
            address(x),
            x.dim(0),
            x.dim(1),
            piece,
            partial.address());
      }
      launcher.run(
          MODULE,
          "reduce_pieces",
          Launcher.blocks(out.count()),
          Launcher.THREADS,
          op.ordinal(),
          partial.address(),
          out.count(),
          pieces,
          count,
          address(out));
    } finally {
      partial.release();
    }
  }
}
