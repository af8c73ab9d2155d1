package fqt.cuda;

import fqt.tensor.Axis;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;

/** Operations on each row of a matrix on one GPU. */
final class CudaRows {
  private final Launcher launcher;

  CudaRows(Launcher launcher) {
    this.launcher = launcher;
  }

  void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
    throw absent("rmsNorm");
  }

  void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    throw absent("layerNorm");
  }

  void softmax(Tensor x, Tensor out) {
    throw absent("softmax");
  }

  void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out) {
    throw absent("reduce");
  }

  void topK(Tensor x, long k, Tensor values, Tensor indices) {
    throw absent("topK");
  }

  void crossEntropy(Tensor x, Tensor target, Tensor out) {
    throw absent("crossEntropy");
  }

  void gatherRows(Tensor table, Tensor index, Tensor out) {
    throw absent("gatherRows");
  }

  void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    throw absent("scatterAddRows");
  }

  private static UnsupportedOperationException absent(String operation) {
    return new UnsupportedOperationException("no CUDA kernel for " + operation + " yet");
  }
}
