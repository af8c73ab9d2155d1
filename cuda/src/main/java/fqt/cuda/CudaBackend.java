package fqt.cuda;

import fqt.tensor.AttentionMask;
import fqt.tensor.Axis;
import fqt.tensor.Backend;
import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.ReduceOp;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.List;

/**
 * One GPU as a backend: hands each operation to the class that launches its kernels. All work goes
 * to one stream, in order; only copies to the host wait for it.
 */
final class CudaBackend implements Backend {
  private final CudaContext context;
  private final CudaCopies copies;
  private final CudaProducts products;
  private final CudaLinalg linalg;
  private final CudaPointwise pointwise;
  private final CudaRows rows;
  private final CudaReduce reductions;
  private final CudaAttention attention;
  private final CudaQuantOps quantization;

  /**
   * A GPU as a backend.
   *
   * @param wholeActivations whether linears and attention keep activations in float32, at two to
   *     three times the price, instead of rounding them to bfloat16
   */
  CudaBackend(CudaContext context, boolean wholeActivations) {
    this.context = context;
    Launcher launcher = new Launcher(context);
    RecentWrites recent = new RecentWrites();
    RoundedTwin twin = new RoundedTwin(context, !wholeActivations, recent);
    copies = new CudaCopies(launcher);
    products = new CudaProducts(launcher, copies, twin, recent, wholeActivations);
    linalg = new CudaLinalg(launcher);
    pointwise = new CudaPointwise(launcher, twin);
    rows = new CudaRows(launcher, twin);
    reductions = new CudaReduce(launcher);
    attention = new CudaAttention(launcher, wholeActivations);
    quantization = new CudaQuantOps(launcher, products, recent);
  }

  @Override
  public List<String> describe() {
    return List.of(CudaDevices.describe(context.device().index()));
  }

  @Override
  public Storage allocate(long byteSize) {
    return context.allocate(byteSize);
  }

  @Override
  public long liveBytes() {
    return context.liveBytes();
  }

  @Override
  public MemoryUse takeMemoryUse() {
    return context.takeMemoryUse();
  }

  @Override
  public long freeBytes() {
    return context.freeBytes();
  }

  @Override
  public void transfer(Tensor source, Tensor target) {
    if (target.device().isHost()) {
      context.download(source, target);
    } else if (!source.device().isHost()) {
      context.copyFromPeer(source, target);
    } else {
      context.upload(source, target);
    }
  }

  @Override
  public void copy(Tensor source, Tensor target) {
    copies.copy(source, target);
  }

  @Override
  public void fill(Tensor target, double value) {
    copies.fill(target, value);
  }

  @Override
  public void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    products.gemm(alpha, a, b, beta, out);
  }

  @Override
  public void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    products.linear(x, w, bias, out);
  }

  @Override
  public boolean groups(List<Tensor> w) {
    return products.groups(w);
  }

  @Override
  public void groupedLinear(Tensor x, long[] bounds, List<Tensor> w, Tensor out) {
    if (products.groups(w)) {
      products.groupedLinear(x, bounds, w, out);
    } else {
      Backend.super.groupedLinear(x, bounds, w, out);
    }
  }

  @Override
  public void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    quantization.packedLinear(x, w, bias, out);
  }

  @Override
  public void scaledLinear(
      Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    products.scaledLinear(x, xScale, w, wScale, bias, out);
  }

  @Override
  public void syrk(float alpha, Tensor x, float beta, Tensor out) {
    linalg.syrk(alpha, x, beta, out);
  }

  /** The second moment of what linears see, whose activations are rounded. */
  @Override
  public void lowerSyrk(float alpha, Tensor x, float beta, Tensor out) {
    Tensor seen = products.rounded(x);
    try {
      linalg.lowerSyrk(alpha, seen, beta, out);
    } finally {
      products.used(seen, x);
    }
  }

  @Override
  public void completeSyrk(Tensor out) {
    linalg.completeSyrk(out);
  }

  @Override
  public long cholesky(Tensor a) {
    return linalg.cholesky(a);
  }

  @Override
  public void invertLower(Tensor l, Tensor out) {
    linalg.invertLower(l, out);
  }

  @Override
  public void binary(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    pointwise.binary(op, a, b, out);
  }

  @Override
  public void unary(UnaryOp op, Tensor x, Tensor out) {
    pointwise.unary(op, x, out);
  }

  @Override
  public void affine(Tensor x, float scale, float shift, Tensor out) {
    pointwise.affine(x, scale, shift, out);
  }

  @Override
  public void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    pointwise.gated(op, gate, up, out);
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
    rows.rmsNorm(x, weight, eps, out);
  }

  @Override
  public void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    rows.layerNorm(x, weight, bias, eps, out);
  }

  @Override
  public void softmax(Tensor x, Tensor out) {
    rows.softmax(x, out);
  }

  @Override
  public void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out) {
    reductions.reduce(op, axis, x, out);
  }

  @Override
  public void topK(Tensor x, long k, Tensor values, Tensor indices) {
    rows.topK(x, k, values, indices);
  }

  @Override
  public void crossEntropy(Tensor x, Tensor target, Tensor out) {
    rows.crossEntropy(x, target, out);
  }

  @Override
  public void gatherRows(Tensor table, Tensor index, Tensor out) {
    rows.gatherRows(table, index, out);
  }

  @Override
  public void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    this.rows.scatterAddRows(rows, index, weight, out);
  }

  @Override
  public void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    attention.rotary(x, cos, sin, out);
  }

  @Override
  public void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    attention.attention(q, k, v, scale, mask, out);
  }

  @Override
  public void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max) {
    quantization.blockRange(x, blocks, min, max);
  }

  @Override
  public void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    quantization.quantize(x, blocks, scale, zero, low, high, codes);
  }

  @Override
  public void quantizeRows(Tensor x, Tensor codes, Tensor scale) {
    quantization.quantizeRows(x, codes, scale);
  }

  @Override
  public void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out) {
    quantization.dequantize(codes, blocks, scale, zero, out);
  }

  @Override
  public void fakeQuantize(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    quantization.fakeQuantize(x, blocks, scale, zero, low, high, codes, out);
  }

  @Override
  public void quantizationError(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out) {
    quantization.quantizationError(x, blocks, scale, zero, low, high, codes, out);
  }

  @Override
  public void pack(Tensor codes, int bits, Tensor words) {
    quantization.pack(codes, bits, words);
  }

  @Override
  public void unpack(Tensor words, int bits, Tensor codes) {
    quantization.unpack(words, bits, codes);
  }

  @Override
  public void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    quantization.gptqBlock(w, u, scale, zero, high, codes, error);
  }
}
