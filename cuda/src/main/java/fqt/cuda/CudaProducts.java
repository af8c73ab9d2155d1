package fqt.cuda;

import fqt.tensor.Tensor;

/** Matrix products on one GPU. */
final class CudaProducts {
  private final Launcher launcher;
  private final CudaCopies copies;

  CudaProducts(Launcher launcher, CudaCopies copies) {
    this.launcher = launcher;
    this.copies = copies;
  }

  void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    throw absent("gemm");
  }

  void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    throw absent("linear");
  }

  void scaledLinear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    throw absent("scaledLinear");
  }

  private static UnsupportedOperationException absent(String operation) {
    return new UnsupportedOperationException("no CUDA kernel for " + operation + " yet");
  }
}
