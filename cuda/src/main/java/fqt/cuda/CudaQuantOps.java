package fqt.cuda;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Tensor;

/** Quantization on one GPU: codes, scales, packing and the column loop of GPTQ. */
final class CudaQuantOps {
  private static final long CODES_OF_THREAD = 8;
  private static final long MOST_ROWS = 65_535;

  private final Launcher launcher;
  private final RecentWrites recent;
  private final CudaBlocks blocks;
  private final CudaGptq gptq;
  private final CudaPackedLinear packed;

  CudaQuantOps(Launcher launcher, CudaProducts products, RecentWrites recent) {
    this.launcher = launcher;
    this.recent = recent;
    blocks = new CudaBlocks(launcher);
    gptq = new CudaGptq(launcher);
    packed = new CudaPackedLinear(launcher, products);
  }

  void blockRange(Tensor x, Blocks shape, Tensor min, Tensor max) {
    blocks.blockRange(x, shape, min, max);
  }

  void quantize(
      Tensor x, Blocks shape, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    long before = launcher.context().writes();
    blocks.quantize(x, shape, scale, zero, low, high, codes);
    recent.plain(before, launcher.context().writes(), codes.storage());
  }

  void dequantize(Tensor codes, Blocks shape, Tensor scale, Tensor zero, Tensor out) {
    blocks.dequantize(codes, shape, scale, zero, out);
  }

  void fakeQuantize(
      Tensor x,
      Blocks shape,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    blocks.fakeQuantize(x, shape, scale, zero, low, high, codes, out);
  }

  void quantizationError(
      Tensor x,
      Blocks shape,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    blocks.quantizationError(x, shape, scale, zero, low, high, codes, out);
  }

  void pack(Tensor codes, int bits, Tensor words) {
    repack("pack_words", words.dim(1), codes, words, codes, words, bits);
  }

  void unpack(Tensor words, int bits, Tensor codes) {
    long threads = Math.ceilDiv(codes.dim(1), CODES_OF_THREAD);
    repack("unpack_words", threads, codes, words, words, codes, bits);
  }

  private void repack(
      String kernel, long threads, Tensor codes, Tensor words, Tensor from, Tensor to, int bits) {
    launcher.run(
        "pack_sm80",
        kernel,
        Launcher.blocks(threads),
        Math.min(codes.dim(0), MOST_ROWS),
        Launcher.THREADS,
        0,
        Launcher.address(from),
        Launcher.address(to),
        codes.dim(0),
        codes.dim(1),
        words.dim(1),
        bits);
  }

  void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    gptq.block(w, u, scale, zero, high, codes, error);
  }

  void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    packed.multiply(x, w, bias, out);
  }
}
