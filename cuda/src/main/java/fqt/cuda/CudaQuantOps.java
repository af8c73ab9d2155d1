package fqt.cuda;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;

/** Quantization on one GPU: codes, scales, packing and the column loop of GPTQ. */
final class CudaQuantOps {
  private final Launcher launcher;
  private final CudaProducts products;

  CudaQuantOps(Launcher launcher, CudaProducts products) {
    this.launcher = launcher;
    this.products = products;
  }

  void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max) {
    throw absent("blockRange");
  }

  void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    throw absent("quantize");
  }

  void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out) {
    throw absent("dequantize");
  }

  void fakeQuantize(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    throw absent("fakeQuantize");
  }

  void quantizationError(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    throw absent("quantizationError");
  }

  void pack(Tensor codes, int bits, Tensor words) {
    throw absent("pack");
  }

  void unpack(Tensor words, int bits, Tensor codes) {
    throw absent("unpack");
  }

  void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    throw absent("gptqBlock");
  }

  void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    throw absent("packedLinear");
  }

  private static UnsupportedOperationException absent(String operation) {
    return new UnsupportedOperationException("no CUDA kernel for " + operation + " yet");
  }
}
