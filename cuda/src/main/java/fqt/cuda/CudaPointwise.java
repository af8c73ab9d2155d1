package fqt.cuda;

import fqt.tensor.BinaryOp;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;

/** Operations element by element on one GPU. */
final class CudaPointwise {
  private final Launcher launcher;

  CudaPointwise(Launcher launcher) {
    this.launcher = launcher;
  }

  void binary(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    throw absent("binary");
  }

  void unary(UnaryOp op, Tensor x, Tensor out) {
    throw absent("unary");
  }

  void affine(Tensor x, float scale, float shift, Tensor out) {
    throw absent("affine");
  }

  void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    throw absent("gated");
  }

  private static UnsupportedOperationException absent(String operation) {
    return new UnsupportedOperationException("no CUDA kernel for " + operation + " yet");
  }
}
