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
    /**
     * {@return the kind of device this provider serves, such as {@code "cuda"}} See {@link
     * Device#kind}.
     */
    String kind();

    /**
     * {@return the backend of one device, opened now}
     *
     * @param index which of several devices of the kind, from 0
     * @throws IllegalStateException if the device cannot be used, saying why
     */
    Backend open(int index);
  }

  /** {@return what was chosen and why, for {@code fqt doctor}} One line for each choice. */
  List<String> describe();

  /**
   * {@return storage whose bytes are undefined}
   *
   * @param byteSize how many bytes; 0 is allowed
   */
  Storage allocate(long byteSize);

  /** {@return the bytes in storages that {@link #allocate} gave out and nobody released} */
  long liveBytes();

  /**
   * Memory of a device.
   *
   * @param peak the most bytes in use at once since this was last asked for
   * @param reserved the most bytes that this process ever kept others from using
   */
  record MemoryUse(long peak, long reserved) {}

  /** {@return what memory was needed since the last call, or null if the device does not count} */
  default MemoryUse takeMemoryUse() {
    return null;
  }

  /** {@return the bytes that {@link #allocate} could still give, as far as is known} */
  default long freeBytes() {
    return Long.MAX_VALUE;
  }

  /**
   * Copies host bytes to this device, or back; both contiguous, same type and shape.
   *
   * @param source contiguous; on the host, or on this device
   * @param target like {@code source}, on the other side
   */
  void transfer(Tensor source, Tensor target);

  /**
   * Copies between tensors of this device of one shape, any strides, converting the type.
   *
   * @param source any strides
   * @param target any strides; floats round half to even, integers saturate
   */
  void copy(Tensor source, Tensor target);

  /**
   * Sets every element of a tensor of any strides.
   *
   * @param target any strides
   * @param value converted to the target's type as in {@link #copy}
   */
  void fill(Tensor target, double value);

  // --- matrices

  /**
   * {@code out = alpha · a b + beta · out}.
   *
   * @param alpha factor of the product
   * @param a [M, K], any float type and strides
   * @param b [K, N], any float type and strides
   * @param beta factor of what {@code out} holds; at 0 that is not read
   * @param out F32 [M, N] with unit column stride
   */
  void gemm(float alpha, Tensor a, Tensor b, float beta, Tensor out);

  /**
   * {@code out = x wᵀ + bias}.
   *
   * @param x [M, K]
   * @param w [N, K], any float type
   * @param bias [N], any float type, or null
   * @param out [M, N]
   */
  void linear(Tensor x, Tensor w, Tensor bias, Tensor out);

  /**
   * {@return whether {@link #groupedLinear} takes such weights, of one shape and type, all in one
   * go}
   *
   * @param w [N, K] each, of one float type
   */
  default boolean groups(List<Tensor> w) {
    return false;
  }

  /**
   * {@code out[m] = w[e] x[m]} for m from {@code bounds[e]} to before {@code bounds[e + 1]}.
   *
   * @param x [M, K]
   * @param bounds E + 1 rows, from 0, never decreasing, to M
   * @param w E weights [N, K] of one float type
   * @param out [M, N]
   */
  default void groupedLinear(Tensor x, long[] bounds, List<Tensor> w, Tensor out) {
    for (int e = 0; e < w.size(); e++) {
      if (bounds[e] < bounds[e + 1]) {
        Tensor rows = x.slice(0, bounds[e], bounds[e + 1]);
        linear(rows, w.get(e), null, out.slice(0, bounds[e], bounds[e + 1]));
      }
    }
  }

  /**
   * {@code out = x wᵀ + bias} with w unpacked inside the kernel.
   *
   * @param x [M, K]
   * @param w N outputs by K inputs
   * @param bias [N], any float type, or null
   * @param out [M, N]
   */
  void packedLinear(Tensor x, PackedWeight w, Tensor bias, Tensor out);

  /**
   * {@code out[m][n] = xScale[m] · wScale[n] · Σ x[m][k] w[n][k] + bias[n]} over codes. Sums of I8
   * codes are exact in 32 bits.
   *
   * @param x [M, K], I8 or F8_E4M3
   * @param xScale F32 [M]
   * @param w [N, K], of the type of {@code x}
   * @param wScale F32 [N]
   * @param bias [N], any float type, or null
   * @param out [M, N]
   */
  void scaledLinear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias, Tensor out);

  /**
   * {@code out = beta · out + alpha · xᵀ x}, symmetric, both triangles.
   *
   * @param alpha factor of the product
   * @param x [T, K]
   * @param beta factor of what {@code out} holds; at 0 that is not read
   * @param out [K, K]
   */
  void syrk(float alpha, Tensor x, float beta, Tensor out);

  /**
   * {@link #syrk} below and on the diagonal only. What is above may be anything until {@link
   * #completeSyrk}.
   *
   * @param alpha factor of the product
   * @param x [T, K]
   * @param beta factor of what {@code out} holds below and on the diagonal
   * @param out [K, K]
   */
  default void lowerSyrk(float alpha, Tensor x, float beta, Tensor out) {
    syrk(alpha, x, beta, out);
  }

  /**
   * Fills in what {@link #lowerSyrk} has left undefined.
   *
   * @param out [K, K], symmetric afterwards
   */
  default void completeSyrk(Tensor out) {
    // The default leaves nothing undefined.
  }

  /**
   * Overwrites symmetric positive definite a [K, K] with its lower Cholesky factor, zeros above.
   *
   * @param a F32 [K, K]; only what is below and on the diagonal is read
   * @return −1, or the index of the first pivot that is not positive (a is then undefined)
   */
  long cholesky(Tensor a);

  /**
   * {@code out = l⁻¹}.
   *
   * @param l [K, K], lower triangular
   * @param out [K, K], zeros above the diagonal
   */
  void invertLower(Tensor l, Tensor out);

  // --- element by element

  /**
   * {@code out = a op b}, element by element.
   *
   * @param op what is done with each pair
   * @param a [..., N]
   * @param b like {@code a}, or [N] repeated over its rows
   * @param out like {@code a}; may be {@code a} itself
   */
  void binary(BinaryOp op, Tensor a, Tensor b, Tensor out);

  /**
   * {@code out = op(x)}.
   *
   * @param op what becomes of each element
   * @param x any shape
   * @param out like {@code x}
   */
  void unary(UnaryOp op, Tensor x, Tensor out);

  /**
   * {@code out = scale * x + shift}.
   *
   * @param x any shape
   * @param scale factor of each element
   * @param shift added after it
   * @param out like {@code x}
   */
  void affine(Tensor x, float scale, float shift, Tensor out);

  /**
   * {@code out = op(gate) * up}: the gated activation of SwiGLU and its kin.
   *
   * @param op the activation, such as {@link UnaryOp#SILU}
   * @param gate any shape
   * @param up like {@code gate}
   * @param out like {@code gate}
   */
  void gated(UnaryOp op, Tensor gate, Tensor up, Tensor out);

  // --- rows

  /**
   * Root-mean-square norm of each row, times a weight.
   *
   * @param x [M, K]
   * @param weight [K], any float type
   * @param eps added to the mean square
   * @param out [M, K]
   */
  void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out);

  /**
   * Layer norm of each row, times a weight, plus a bias.
   *
   * @param x [M, K]
   * @param weight [K], any float type
   * @param bias [K], any float type
   * @param eps added to the variance
   * @param out [M, K]
   */
  void layerNorm(Tensor x, Tensor weight, Tensor bias, float eps, Tensor out);

  /**
   * Softmax of each row.
   *
   * @param x [M, K]
   * @param out [M, K], rows of sum 1
   */
  void softmax(Tensor x, Tensor out);

  /**
   * Reduces each row or each column to one number. Sums accumulate in F64.
   *
   * @param op what is made of the elements of a row or column
   * @param axis what is left: one number a row, or one a column
   * @param x [M, K], not empty
   * @param out [M] or [K]
   */
  void reduce(ReduceOp op, Axis axis, Tensor x, Tensor out);

  /**
   * The k largest of each row, largest first, ties by index.
   *
   * @param x [M, K]
   * @param k from 1 to K
   * @param values F32 [M, k]
   * @param indices I32 [M, k], their columns
   */
  void topK(Tensor x, long k, Tensor values, Tensor indices);

  /**
   * {@code out[m] = log Σ exp(x[m]) − x[m][target[m]]}.
   *
   * @param x [M, V], logits
   * @param target I32 [M], from 0 to V − 1
   * @param out F32 [M], nats
   */
  void crossEntropy(Tensor x, Tensor target, Tensor out);

  /**
   * {@code out[i] = table[index[i]]}.
   *
   * @param table [V, K], any float type
   * @param index I32 [M], from 0 to V − 1
   * @param out F32 [M, K]
   */
  void gatherRows(Tensor table, Tensor index, Tensor out);

  /**
   * {@code out[index[i]] += weight[i] · rows[i]} in the order of i.
   *
   * @param rows [M, K]
   * @param index I32 [M], rows of {@code out}
   * @param weight F32 [M], or null for 1
   * @param out [V, K]
   */
  void scatterAddRows(Tensor rows, Tensor index, Tensor weight, Tensor out);

  // --- attention

  /**
   * Rotary embedding by halves: with d = R / 2, {@code out[i] = x[i] cos[i] − x[i+d] sin[i]} and
   * {@code out[i+d] = x[i+d] cos[i] + x[i] sin[i]}. The last D − R elements of a head pass
   * unchanged.
   *
   * @param x [M, H, D]
   * @param cos [M, R / 2]
   * @param sin [M, R / 2]
   * @param out [M, H, D]
   */
  void rotary(Tensor x, Tensor cos, Tensor sin, Tensor out);

  /**
   * Scaled dot-product attention with grouped heads. The operands may have any strides but unit
   * stride along D.
   *
   * @param q [M, H, D]
   * @param k [S, G, D], H a multiple of G
   * @param v [S, G, D]
   * @param scale factor of the scores, before the softmax
   * @param mask which of the S keys each of the M queries sees
   * @param out [M, H, D]; zeros for a query that sees no key
   */
  void attention(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out);

  // --- quantization; codes are whole numbers, kept in I8 or U8, or in an F8 type

  /**
   * Smallest and largest element of each block.
   *
   * @param x [M, K]
   * @param blocks how x is cut
   * @param min as {@link Blocks#scaleShape} says
   * @param max like {@code min}
   */
  void blockRange(Tensor x, Blocks blocks, Tensor min, Tensor max);

  /**
   * {@code code = clamp(rint(x / scale) + zero, low, high)} for integer codes, and {@code
   * round(clamp(x / scale, low, high))} for F8 ones.
   *
   * @param x [M, K]
   * @param blocks how x is cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param low smallest code
   * @param high largest code
   * @param codes [M, K], in I8, U8 or an F8 type; written
   */
  void quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, Tensor codes);

  /**
   * Each row by its own largest magnitude: {@code scale = max(max |x| / largest, 2^-126)}, where
   * the largest code is 127 or 448, and codes as {@link #quantize} has them. A NaN makes the scale
   * of its row NaN.
   *
   * @param x [M, K], M and K at least 1
   * @param codes I8 or F8_E4M3 [M, K]
   * @param scale F32 [M, 1]
   */
  void quantizeRows(Tensor x, Tensor codes, Tensor scale);

  /**
   * {@code out = scale · (code − zero)}.
   *
   * @param codes [M, K], in I8, U8 or an F8 type
   * @param blocks how they are cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param out [M, K], any float type
   */
  void dequantize(Tensor codes, Blocks blocks, Tensor scale, Tensor zero, Tensor out);

  /**
   * {@link #quantize} followed by {@link #dequantize} without keeping the codes.
   *
   * @param x [M, K]
   * @param blocks how x is cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param low smallest code
   * @param high largest code
   * @param codes the type that the codes would have
   * @param out F32 [M, K]
   */
  void fakeQuantize(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out);

  /**
   * Σ ({@link #fakeQuantize} − x)² of each block, F64 inside.
   *
   * @param x [M, K]
   * @param blocks how x is cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param low smallest code
   * @param high largest code
   * @param codes the type that the codes would have
   * @param out F32, one a block
   */
  void quantizationError(
      Tensor x,
      Blocks blocks,
      Tensor scale,
      Tensor zero,
      float low,
      float high,
      DType codes,
      Tensor out);

  /**
   * Packs U8 codes [N, K] of {@code bits} bits into the words of {@link PackedWeight}.
   *
   * @param codes U8 [N, K], each below 2^bits
   * @param bits width of a code, 2 to 8
   * @param words I32 [N, {@link PackedWeight#wordsPerRow}]
   */
  void pack(Tensor codes, int bits, Tensor words);

  /**
   * The reverse of {@link #pack}.
   *
   * @param words I32 [N, {@link PackedWeight#wordsPerRow}]
   * @param bits width of a code, 2 to 8
   * @param codes U8 [N, K]
   */
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
