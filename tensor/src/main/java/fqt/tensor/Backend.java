package fqt.tensor;

import java.util.List;

/**
 * What a device must be able to do. Callers use {@link Ops}, which checks shapes and types once and
 * allocates the results: an implementation only computes, into tensors of the right shape, and
 * checks nothing twice. Unless said otherwise, tensors are contiguous, activations are F32 on the
 * CPU, and a result never overlaps an argument except where it is that very tensor.
 *
 * <p>Matrices are named as the field does: {@code M} tokens, {@code K} inputs, {@code N} outputs.
 */
public interface Backend {
  /** Finds backends; looked up with {@code ServiceLoader}. */
  interface Provider {
    /** The kind of device this provider serves, as in {@link Device#kind}. */
    String kind();

    /**
     * The backend of one device.
     *
     * @throws IllegalStateException if the device cannot be used, saying why
     */
    Backend open(int index);
  }

  /** One line for {@code fqt doctor}: what was chosen and why. */
  List<String> describe();

  /** Uninitialised bytes. */
  Storage allocate(long byteSize);

  /** Bytes in storages that {@link #allocate} gave out and nobody released. */
  long liveBytes();

  /**
   * Memory of a device.
   *
   * @param peak the most bytes in use at once since this was last asked for
   * @param reserved the most bytes that this process ever kept others from using
   */
  record MemoryUse(long peak, long reserved) {}

  /** What memory was needed since the last call, or null if the device does not count. */
  default MemoryUse takeMemoryUse() {
    return null;
  }

  /** Bytes that {@link #allocate} could still give, as far as is known. */
  default long freeBytes() {
    return Long.MAX_VALUE;
  }

  /** Copies host bytes to this device, or back; both contiguous, same type and shape. */
  void transfer(Tensor source, Tensor target);

  /** Copies between tensors of this device of one shape, any strides, converting the type. */
  void copy(Tensor source, Tensor target);

  /** Sets every element of a tensor of any strides. */
  void fill(Tensor target, double value);

  // --- matrices

  /**
   * {@code out = alpha * a b + beta * out}; a [M, K] and b [K, N] of any float type and any
   * strides, out F32 [M, N] with unit column stride.
   */
  void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out);

  /** {@code out = x wᵀ + bias}; x [M, K], w [N, K] any float type, bias [N] or null. */
  void linear(Tensor x, Tensor w, Tensor bias, Tensor out);

  /** Whether {@link #groupedLinear} takes such weights, of one shape and type, all in one go. */
  default boolean groups(List<Tensor> w) {
    return false;
  }

  /**
   * {@code out[m] = w[e] x[m]} for m from bounds[e] to before bounds[e + 1]; x [M, K], each w [N,
   * K] of one float type.
   */
  default void groupedLinear(Tensor x, long[] bounds, List<Tensor> w, Tensor out) {
    for (int e = 0; e < w.size(); e++) {
      if (bounds[e] < bounds[e + 1]) {
        Tensor rows = x.slice(0, bounds[e], bounds[e + 1]);
        linear(rows, w.get(e), null, out.slice(0, bounds[e], bounds[e + 1]));
      }
    }
  }

  /** {@code out = x wᵀ + bias} with w unpacked inside the kernel. */
  void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out);

  /**
   * {@code out[m][n] = xScale[m] · wScale[n] · Σ x[m][k] w[n][k] + bias[n]} over codes: x [M, K]
   * and w [N, K], both I8 with sums exact in 32 bits, or both F8_E4M3; scales F32; bias [N] or
   * null.
   */
  void scaledLinear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out);

  /** {@code out = beta * out + alpha * xᵀ x}, symmetric, both triangles; x [T, K], out [K, K]. */
  void syrk(float alpha, Tensor x, float beta, Tensor out);

  /** The same below and on the diagonal; what is above it may be anything until completed. */
  default void lowerSyrk(float alpha, Tensor x, float beta, Tensor out) {
    syrk(alpha, x, beta, out);
  }

  /** Fills in what {@link #lowerSyrk} has left undefined. */
  default void completeSyrk(Tensor out) {
    // The default leaves nothing undefined.
  }

  /**
   * Overwrites symmetric positive definite a [K, K] with its lower Cholesky factor, zeros above.
   *
   * @return −1, or the index of the first pivot that is not positive (a is then undefined)
   */
  long cholesky(Tensor a);

  /** {@code out = l⁻¹} for lower triangular l [K, K], zeros above the diagonal. */
  void invertLower(Tensor l, Tensor out);

  // --- element by element

  /** {@code out = a op b}; shapes equal, or b [N] repeated over the rows of a [..., N]. */
  void binary(BinaryOp op, Tensor a, Tensor b, Tensor out);

  /** {@code out = op(x)}. */
  void unary(UnaryOp op, Tensor x, Tensor out);

  /** {@code out = scale * x + shift}. */
  void affine(Tensor x, float scale, float shift, Tensor out);

  /** {@code out = op(gate) * up}: the gated activation of SwiGLU and its kin. */
  void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out);

  // --- rows

  /** Root-mean-square norm of each row of x [M, K], times weight [K] (any float type). */
  void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out);

  /** Layer norm of each row of x [M, K]; weight and bias [K], any float type. */
  void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out);

  /** Softmax of each row of x [M, K]. */
  void softmax(Tensor x, Tensor out);

  /** Reduces each row of x [M, K] to out [M], or each column to out [K]; accumulates in F64. */
  void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out);

  /** The k largest of each row, largest first, ties by index; values F32, indices I32 [M, k]. */
  void topK(Tensor x, long k, Tensor values, Tensor indices);

  /** {@code out[m] = log Σ exp(x[m]) − x[m][target[m]]}; x [M, V], target I32 [M], out F32 [M]. */
  void crossEntropy(Tensor x, Tensor target, Tensor out);

  /** {@code out[i] = table[index[i]]}; table [V, K] any float type, index I32 [M], out F32. */
  void gatherRows(Tensor table, Tensor index, Tensor out);

  /** {@code out[index[i]] += weight[i] * rows[i]} in the order of i; weight F32 [M] or null. */
  void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out);

  // --- attention

  /**
   * Rotary embedding by halves: with d = D / 2, {@code out[i] = x[i] cos[i] − x[i+d] sin[i]} and
   * {@code out[i+d] = x[i+d] cos[i] + x[i] sin[i]}; x [M, H, D], cos and sin [M, R / 2], where the
   * last D − R elements of a head pass unchanged (d = R / 2).
   */
  void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out);

  /**
   * Scaled dot-product attention with grouped heads: q [M, H, D], k and v [S, G, D], H a multiple
   * of G; out [M, H, D]. q, k and v may have any strides but unit stride along D.
   */
  void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out);

  // --- quantization; codes are whole numbers, kept in I8 or U8, or in an F8 type

  /** Smallest and largest element of each block of x [M, K]; min and max as blocks' scale shape. */
  void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max);

  /**
   * {@code code = clamp(rint(x / scale) + zero, low, high)} for integer codes, and {@code
   * round(clamp(x / scale, low, high))} for F8 ones; scale F32 and zero F32 or null, one a block.
   */
  void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes);

  /** {@code out = scale * (code − zero)}, out of any float type. */
  void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out);

  /** {@link #quantize} followed by {@link #dequantize} without keeping the codes; out F32. */
  void fakeQuantize(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out);

  /** Σ ({@link #fakeQuantize} − x)² of each block of x, F64 inside; out F32 like scale. */
  void quantizationError(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out);

  /** Packs U8 codes [N, K] of {@code bits} bits into the words of {@link PackedWeight}. */
  void pack(Tensor codes, int bits, Tensor words);

  /** The reverse of {@link #pack}. */
  void unpack(Tensor words, int bits, Tensor codes);

  /**
   * The column loop of GPTQ over one block of columns (Frantar et al. 2022, algorithm 1). For each
   * column i of w [N, B] in turn: {@code code = clamp(rint(w_i / scale) + zero, 0, high)}, {@code e
   * = (w_i − scale * (code − zero)) / u[i][i]}, and {@code w_j −= e * u[i][j]} for j > i.
   *
   * @param w F32 [N, B] with unit column stride; overwritten by the dequantized values
   * @param u F32 [B, B] upper triangular, unit column stride
   * @param scale F32 [N, B], the scale of each element's group
   * @param zero F32 [N, B], its zero point
   * @param high largest code, 2^bits − 1
   * @param codes U8 [N, B] with unit column stride, written
   * @param error F32 [N, B], written: e for the update of later blocks
   */
  void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error);
}
