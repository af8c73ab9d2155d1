package fqt.tensor.cpu;

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
 * The CPU at full speed: hands each operation to the kernel that does it. Every kernel has a scalar
 * twin in {@link ScalarBackend}.
 */
final class CpuBackend implements Backend {
  private final HostMemory memory;
  private final Threads threads;
  private final KernelChoice kernels;
  private final Matrices matrices;
  private final ByteProducts byteProducts;
  private final Triangular triangular;
  private final ScaledProduct scaledProduct;

  CpuBackend(HostMemory memory, Threads threads, KernelChoice kernels) {
    this.memory = memory;
    this.threads = threads;
    this.kernels = kernels;
    KeptForms kept = KeptForms.configured(memory);
    this.matrices = new Matrices(threads, kernels, kept);
    this.byteProducts = new ByteProducts(threads, kernels, kept);
    this.triangular = new Triangular(threads, kernels, memory, matrices);
    this.scaledProduct = new ScaledProduct(threads, matrices);
  }

  @Override
  public List<String> describe() {
    return List.of(
        "kernels: " + kernels.description(),
        "vectors in Java: %d bits (%d F32 lanes)".formatted(Lanes.F.vectorBitSize(), Lanes.LENGTH),
        "threads: " + threads.count());
  }

  @Override
  public Storage allocate(long byteSize) {
    return memory.allocate(byteSize);
  }

  @Override
  public long liveBytes() {
    return memory.liveBytes();
  }

  @Override
  public void transfer(Tensor source, Tensor target) {
    copy(source, target);
  }

  @Override
  public void copy(Tensor source, Tensor target) {
    CopyKernels.copy(threads, kernels.rows(), source, target);
  }

  @Override
  public void fill(Tensor target, double value) {
    CopyKernels.fill(threads, target, value);
  }

  @Override
  public void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    matrices.gemm(alpha, a, b, beta, out);
  }

  @Override
  public void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    matrices.linear(x, w, bias, out);
  }

  @Override
  public void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    matrices.packedLinear(x, w, bias, out);
  }

  @Override
  public void scaledLinear(
      Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    if (x.dtype() == DType.I8) {
      byteProducts.linear(x, xScale, w, wScale, Matrices.floats(bias), out);
    } else {
      scaledProduct.linear(x, xScale, w, wScale, bias, out);
    }
  }

  @Override
  public void syrk(float alpha, Tensor x, float beta, Tensor out) {
    matrices.syrk(alpha, x, beta, out);
  }

  @Override
  public void lowerSyrk(float alpha, Tensor x, float beta, Tensor out) {
    matrices.lowerSyrk(alpha, x.transpose(0, 1), beta, out);
  }

  @Override
  public void completeSyrk(Tensor out) {
    matrices.mirror(out);
  }

  @Override
  public long cholesky(Tensor a) {
    return triangular.cholesky(a);
  }

  @Override
  public void invertLower(Tensor l, Tensor out) {
    triangular.invertLower(l, out);
  }

  @Override
  public void binary(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    Pointwise.binary(threads, op, a, b, out);
  }

  @Override
  public void unary(UnaryOp op, Tensor x, Tensor out) {
    Pointwise.unary(threads, kernels.rows(), op, x, out);
  }

  @Override
  public void affine(Tensor x, float scale, float shift, Tensor out) {
    Pointwise.affine(threads, x, scale, shift, out);
  }

  @Override
  public void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    Pointwise.gated(threads, kernels.rows(), op, gate, up, out);
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
    Rows.rmsNorm(threads, kernels.rows(), x, weight, eps, out);
  }

  @Override
  public void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    Rows.layerNorm(threads, kernels.rows(), x, weight, bias, eps, out);
  }

  @Override
  public void softmax(Tensor x, Tensor out) {
    Rows.softmax(threads, kernels.rows(), x, out);
  }

  @Override
  public void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out) {
    Rows.reduce(threads, op, axis, x, out);
  }

  @Override
  public void topK(Tensor x, long k, Tensor values, Tensor indices) {
    TopK.topK(threads, x, k, values, indices);
  }

  @Override
  public void crossEntropy(Tensor x, Tensor target, Tensor out) {
    Rows.crossEntropy(threads, kernels.rows(), x, target, out);
  }

  @Override
  public void gatherRows(Tensor table, Tensor index, Tensor out) {
    Rows.gatherRows(threads, table, index, out);
  }

  @Override
  public void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    Rows.scatterAddRows(threads, rows, index, weight, out);
  }

  @Override
  public void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    Rotary.rotary(threads, x, cos, sin, out);
  }

  @Override
  public void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    AttentionKernels.attention(threads, kernels.machine(), memory, q, k, v, scale, mask, out);
  }

  @Override
  public void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max) {
    BlockRange.blockRange(threads, kernels.rows(), x, blocks, min, max);
  }

  @Override
  public void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    QuantizeKernels.quantize(threads, kernels.rows(), x, blocks, scale, zero, low, high, codes);
  }

  @Override
  public void quantizeRows(Tensor x, Tensor codes, Tensor scale) {
    QuantizeKernels.quantizeRows(threads, kernels.rows(), x, codes, scale);
  }

  @Override
  public void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out) {
    QuantizeKernels.dequantize(threads, kernels.rows(), codes, blocks, scale, zero, out);
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
    QuantizeKernels.fakeQuantize(threads, x, blocks, scale, zero, low, high, codes, out);
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
    QuantizeKernels.quantizationError(threads, x, blocks, scale, zero, low, high, codes, out);
  }

  @Override
  public void pack(Tensor codes, int bits, Tensor words) {
    BitStreams.pack(threads, codes, bits, words);
  }

  @Override
  public void unpack(Tensor words, int bits, Tensor codes) {
    BitStreams.unpack(threads, words, bits, codes);
  }

  @Override
  public void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    GptqKernel.run(threads, kernels.rows(), w, u, scale, zero, high, codes, error);
  }
}
