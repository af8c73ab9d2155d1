package fqt.cuda;

import static fqt.cuda.Launcher.address;
import static fqt.cuda.Launcher.bits;
import static fqt.cuda.Launcher.code;

import fqt.tensor.Tensor;

/**
 * Operations on each row of a matrix on one GPU: norms, softmax, top-k, losses, gather, scatter.
 */
final class CudaRows {
  private static final String MODULE = "rows_sm80";
  private static final long PER_THREAD = 4;
  private static final int MAX_THREADS = 512;
  private static final long GATHERED_AT_ONCE = 2048;

  private final Launcher launcher;
  private final RoundedTwin twin;

  CudaRows(Launcher launcher, RoundedTwin twin) {
    this.launcher = launcher;
    this.twin = twin;
  }

  void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
    eachRow(
        "rms_norm",
        x,
        address(x),
        address(weight),
        code(weight.dtype()),
        weight.stride(0),
        bits(eps),
        address(out),
        x.dim(1),
        share(x),
        address(twin.room(out)));
    twin.written();
  }

  void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    eachRow(
        "layer_norm",
        x,
        address(x),
        address(weight),
        code(weight.dtype()),
        weight.stride(0),
        address(bias),
        code(bias.dtype()),
        bias.stride(0),
        bits(eps),
        address(out),
        x.dim(1),
        share(x));
  }

  void softmax(Tensor x, Tensor out) {
    eachRow("softmax", x, address(x), address(out), x.dim(1));
  }

  void crossEntropy(Tensor x, Tensor target, Tensor out) {
    eachRow("cross_entropy", x, address(x), address(target), address(out), x.dim(1), fault());
  }

  void topK(Tensor x, long k, Tensor values, Tensor indices) {
    int threads = Math.min(Launcher.THREADS, threads(x.dim(1)));
    launcher.run(
        MODULE,
        "top_k",
        x.dim(0),
        threads,
        address(x),
        x.dim(1),
        k,
        address(values),
        address(indices));
  }

  void gatherRows(Tensor table, Tensor index, Tensor out) {
    launcher.run(
        MODULE,
        "gather_rows",
        index.dim(0),
        Math.ceilDiv(table.dim(1), GATHERED_AT_ONCE),
        Launcher.THREADS,
        0,
        address(table),
        code(table.dtype()),
        table.dim(0),
        table.dim(1),
        address(index),
        address(out),
        fault());
  }

  void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    launcher.run(
        MODULE,
        "scatter_add_rows",
        rows.dim(0),
        Launcher.THREADS,
        address(rows),
        rows.dim(0),
        rows.dim(1),
        address(index),
        address(weight),
        address(out),
        out.dim(0),
        fault());
  }

  /** One element's share in the mean of a row. */
  private static long share(Tensor x) {
    return Double.doubleToRawLongBits(1.0 / x.dim(1));
  }

  private long fault() {
    return launcher.context().fault();
  }

  private void eachRow(String kernel, Tensor x, long... arguments) {
    launcher.run(MODULE, kernel, x.dim(0), threads(x.dim(1)), arguments);
  }

  /** Whole warps, so many that a thread has a few elements of a row. */
  private static int threads(long columns) {
    long warps = Math.ceilDiv(Math.ceilDiv(columns, PER_THREAD), 32L);
    return Math.clamp(warps * 32, 32, MAX_THREADS);
  }
}
