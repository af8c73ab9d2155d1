package fqt.cuda;

import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
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
  private final CudaQuantize tokens;

  CudaQuantOps(Launcher launcher, CudaProducts products, RecentWrites recent) {
    this.launcher = launcher;
    this.recent = recent;
    blocks = new CudaBlocks(launcher);
    gptq = new CudaGptq(launcher);
    packed = new CudaPackedLinear(launcher, products);
    tokens = new CudaQuantize(launcher.context());
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

  /** Rows beyond what a block of threads holds go through the steps one by one. */
  void quantizeRows(Tensor x, Tensor codes, Tensor scale) {
    if (x.dim(1) > CudaQuantize.MAX_COLUMNS) {
      quantizeLongRows(x, codes, scale);
      return;
    }
    CudaContext context = launcher.context();
    long before = context.writes();
    tokens.perToken(context.stream(), x, codes, scale);
    recent.plain(before, context.writes(), codes.storage(), scale.storage());
  }

  private void quantizeLongRows(Tensor x, Tensor codes, Tensor scale) {
    float high = codes.dtype() == DType.I8 ? Byte.MAX_VALUE : Float8.E4M3_MAX;
    try (Scope scope = Scope.open()) {
      QuantOps.Range range = QuantOps.blockRange(x, Blocks.PER_ROW);
      Tensor largest = Ops.binary(BinaryOp.MAX, range.max(), Ops.affine(range.min(), -1, 0));
      Tensor divisor = Ops.full(x.device(), DType.F32, high, 1);
      Tensor least = Ops.full(x.device(), DType.F32, Float.MIN_NORMAL, 1);
      Ops.binaryInto(BinaryOp.MAX, Ops.divide(largest, divisor), least, scale);
    }
    float low = codes.dtype() == DType.I8 ? Byte.MIN_VALUE : -high;
    quantize(x, Blocks.PER_ROW, scale, null, low, high, codes);
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
