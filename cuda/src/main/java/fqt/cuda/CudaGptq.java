package fqt.cuda;

import fqt.tensor.Tensor;

/** The column loop of GPTQ on one GPU (gptq.cu): rows in parallel, columns one after the other. */
final class CudaGptq {
  private static final String MODULE = "gptq_sm80";
  private static final long ROWS = 32;
  private static final long COLUMNS = 128;

  private final Launcher launcher;

  CudaGptq(Launcher launcher) {
    this.launcher = launcher;
  }

  /** One block of columns; more than the kernel has room for go in pieces. */
  void block(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    long columns = w.dim(1);
    for (long from = 0; from < columns; from += COLUMNS) {
      long to = Math.min(columns, from + COLUMNS);
      Tensor errors = error.slice(1, from, to);
      piece(
          w.slice(1, from, to),
          u.slice(0, from, to).slice(1, from, to),
          scale.slice(1, from, to),
          zero.slice(1, from, to),
          high,
          codes.slice(1, from, to),
          errors);
      if (to < columns) {
        spread(w.slice(1, to, columns), u.slice(0, from, to).slice(1, to, columns), errors);
      }
    }
  }

  private void piece(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    launcher.run(
        MODULE,
        "gptq_block",
        Math.ceilDiv(w.dim(0), ROWS),
        Launcher.THREADS,
        Launcher.address(w),
        Launcher.address(u),
        Launcher.address(scale),
        Launcher.address(zero),
        Launcher.address(codes),
        Launcher.address(error),
        w.dim(0),
        w.dim(1),
        w.stride(0),
        u.stride(0),
        codes.stride(0),
        error.stride(0),
        scale.stride(0),
        scale.stride(1),
        zero.stride(0),
        zero.stride(1),
        Launcher.bits(high));
  }

  private void spread(Tensor rest, Tensor u, Tensor error) {
    launcher.run(
        MODULE,
        "gptq_spread",
        Launcher.blocks(rest.count()),
        Launcher.THREADS,
        Launcher.address(rest),
        Launcher.address(u),
        Launcher.address(error),
        rest.dim(0),
        error.dim(1),
        rest.dim(1),
        rest.stride(0),
        u.stride(0),
        error.stride(0));
  }
}
