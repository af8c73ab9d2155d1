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
 * The CPU in plain loops, one element at a time: the meaning of every operation, the oracle of the
 * tests, and what {@code -Dfqt.cpu=scalar} chooses. It needs no incubating module.
 */
final class ScalarBackend implements Backend {
  private final HostMemory memory;

  ScalarBackend(HostMemory memory) {
    this.memory = memory;
  }

  @Override
  public List<String> describe() {
    return List.of("kernels: scalar, chosen by -Dfqt.cpu=scalar", "threads: 1");
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
    ScalarCopy.copy(source, target);
  }

  @Override
  public void fill(Tensor target, double value) {
    ScalarCopy.fill(target, value);
  }

  @Override
  public void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out) {
    ScalarMatrix.gemm(alpha, a, b, beta, out);
  }

  @Override
  public void linear(Tensor x, Tensor w, Tensor bias, Tensor out) {
    ScalarMatrix.linear(x, w, bias, out);
  }

  @Override
  public void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out) {
    ScalarMatrix.packedLinear(x, w, bias, out);
  }

  @Override
  public void scaledLinear(
      Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out) {
    ScalarMatrix.scaledLinear(x, xScale, w, wScale, bias, out);
  }

  @Override
  public void syrk(float alpha, Tensor x, float beta, Tensor out) {
    ScalarMatrix.syrk(alpha, x, beta, out);
  }

  @Override
  public long cholesky(Tensor a) {
    return ScalarMatrix.cholesky(a);
  }

  @Override
  public void invertLower(Tensor l, Tensor out) {
    ScalarMatrix.invertLower(l, out);
  }

  @Override
  public void binary(BinaryOp op, Tensor a, Tensor b, Tensor out) {
    ScalarPointwise.binary(op, a, b, out);
  }

  @Override
  public void unary(UnaryOp op, Tensor x, Tensor out) {
    ScalarPointwise.unary(op, x, out);
  }

  @Override
  public void affine(Tensor x, float scale, float shift, Tensor out) {
    ScalarPointwise.affine(x, scale, shift, out);
  }

  @Override
  public void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out) {
    ScalarPointwise.gated(op, gate, up, out);
  }

  @Override
  public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out) {
    ScalarRows.rmsNorm(x, weight, eps, out);
  }

  @Override
  public void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    ScalarRows.layerNorm(x, weight, bias, eps, out);
  }

  @Override
  public void softmax(Tensor x, Tensor out) {
    ScalarRows.softmax(x, out);
  }

  @Override
  public void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out) {
    ScalarRows.reduce(op, axis, x, out);
  }

  @Override
  public void topK(Tensor x, long k, Tensor values, Tensor indices) {
    ScalarRows.topK(x, k, values, indices);
  }

  @Override
  public void crossEntropy(Tensor x, Tensor target, Tensor out) {
    ScalarRows.crossEntropy(x, target, out);
  }

  @Override
  public void gatherRows(Tensor table, Tensor index, Tensor out) {
    ScalarRows.gatherRows(table, index, out);
  }

  @Override
  public void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out) {
    ScalarRows.scatterAddRows(rows, index, weight, out);
  }

  @Override
  public void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out) {
    ScalarAttention.rotary(x, cos, sin, out);
  }

  @Override
  public void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    ScalarAttention.attention(q, k, v, scale, mask, out);
  }

  @Override
  public void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max) {
    ScalarQuantize.blockRange(x, blocks, min, max);
  }

  @Override
  public void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes) {
    ScalarQuantize.quantize(x, blocks, scale, zero, low, high, codes);
  }

  @Override
  public void quantizeRows(Tensor x, Tensor codes, Tensor scale) {
    ScalarQuantize.quantizeRows(x, codes, scale);
  }

  @Override
  public void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out) {
    ScalarQuantize.dequantize(codes, blocks, scale, zero, out);
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
    ScalarQuantize.fakeQuantize(x, blocks, scale, zero, low, high, codes, out);
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
    ScalarQuantize.quantizationError(x, blocks, scale, zero, low, high, codes, out);
  }

  @Override
  public void pack(Tensor codes, int bits, Tensor words) {
    ScalarQuantize.pack(codes, bits, words);
  }

  @Override
  public void unpack(Tensor words, int bits, Tensor codes) {
    ScalarQuantize.unpack(words, bits, codes);
  }

  @Override
  public void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    ScalarMatrix.gptqBlock(w, u, scale, zero, high, codes, error);
  }
}
