package fqt.cuda;

import fqt.tensor.AttentionMask;
import fqt.tensor.Tensor;

/** Rotary embedding and attention on one GPU. */
final class CudaAttention {
  private final Launcher launcher;

  CudaAttention(Launcher launcher) {
    this.launcher = launcher;
  }

  void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    throw absent("rotary");
  }

  void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    throw absent("attention");
  }

  private static UnsupportedOperationException absent(String operation) {
    return new UnsupportedOperationException("no CUDA kernel for " + operation + " yet");
  }
}
