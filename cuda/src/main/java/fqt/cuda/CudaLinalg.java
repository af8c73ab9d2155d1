package fqt.cuda;

import fqt.tensor.Tensor;

/** Symmetric products and triangular matrices on one GPU. */
final class CudaLinalg {
  private final Launcher launcher;
  private final CudaProducts products;

  CudaLinalg(Launcher launcher, CudaProducts products) {
    this.launcher = launcher;
    this.products = products;
  }

  void syrk(float alpha, Tensor x, float beta, Tensor out) {
    throw absent("syrk");
  }

  long cholesky(Tensor a) {
    throw absent("cholesky");
  }

  void invertLower(Tensor l, Tensor out) {
    throw absent("invertLower");
  }

  private static UnsupportedOperationException absent(String operation) {
    return new UnsupportedOperationException("no CUDA kernel for " + operation + " yet");
  }
}
