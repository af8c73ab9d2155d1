package fqt.tensor;

import static fqt.tensor.Checks.requireBlocks;
import static fqt.tensor.Checks.requireMatrix;
import static fqt.tensor.Checks.requireNotEmpty;
import static fqt.tensor.Checks.requireShape;
import static fqt.tensor.Checks.requireType;

/**
 * What quantization does with tensors: codes out of values and back, their products, and the column
 * loop of GPTQ. As with {@link Ops}, operands are checked once and the device does the work.
 */
public final class QuantOps {
  private QuantOps() {}

  /**
   * {@return {@code x wᵀ + bias} for a packed weight, F32 [..., N]}
   *
   * @param x F32 [..., K]
   * @param w N outputs by K inputs
   * @param bias [N], any float type, or null
   */
  public static Tensor packedLinear(Tensor x, PackedWeight w, Tensor bias) {
    Tensor rows = Ops.asRows(x, w.columns());
    if (bias != null) {
      requireShape("bias", bias, Shape.of(w.rows()));
    }
    Tensor out = Ops.empty(x.device(), DType.F32, rows.dim(0), w.rows());
    Ops.backend(x, w.codes()).packedLinear(rows, w, bias, out);
    return Ops.restore(out, x);
  }

  /**
   * The product of a linear layer whose input and weight are codes: {@code xScale[m] · wScale[n] ·
   * Σ x[m][k] w[n][k] + bias[n]}. Sums of I8 codes are exact.
   *
   * @param x I8 or F8_E4M3 [M, K]; K below 131072
   * @param xScale F32 [M]
   * @param w [N, K] of the same type
   * @param wScale F32 [N]
   * @param bias [N] of any float type, or null
   * @return F32 [M, N]
   */
  public static Tensor scaledLinear(Tensor x, Tensor xScale, Tensor w, Tensor wScale, Tensor bias) {
    requireMatrix("x", x);
    requireMatrix("w", w);
    requireType("w", w, x.dtype());
    if (x.dtype() != DType.I8 && x.dtype() != DType.F8_E4M3) {
      throw new IllegalArgumentException("x is " + x + "; expected type I8 or F8_E4M3");
    }
    if (x.dim(1) != w.dim(1) || x.dim(1) >= 1 << 17) {
      throw new IllegalArgumentException(
          "cannot multiply codes x " + x + " by w " + w + "; expected equal rows below 131072");
    }
    requireType("xScale", xScale, DType.F32);
    requireShape("xScale", xScale, Shape.of(x.dim(0)));
    requireType("wScale", wScale, DType.F32);
    requireShape("wScale", wScale, Shape.of(w.dim(0)));
    if (bias != null) {
      requireShape("bias", bias, Shape.of(w.dim(0)));
    }
    Tensor out = Ops.empty(x.device(), DType.F32, x.dim(0), w.dim(0));
    Ops.backend(x, w).scaledLinear(Ops.contiguous(x), xScale, Ops.contiguous(w), wScale, bias, out);
    return out;
  }

  /**
   * Smallest and largest element of each block.
   *
   * @param min F32, of the blocks' scale shape
   * @param max like min
   */
  public record Range(Tensor min, Tensor max) {}

  /**
   * {@return the range of each block}
   *
   * @param x F32 [M, K], not empty
   * @param blocks how it is cut
   */
  public static Range blockRange(Tensor x, Blocks blocks) {
    requireMatrix("x", x);
    requireType("x", x, DType.F32);
    requireNotEmpty("x", x);
    Shape shape = blocks.scaleShape(x.dim(0), x.dim(1));
    Range range =
        new Range(Ops.empty(x.device(), DType.F32, shape), Ops.empty(x.device(), DType.F32, shape));
    Ops.backend(x).blockRange(Ops.contiguous(x), blocks, range.min(), range.max());
    return range;
  }

  /**
   * A matrix in 8 bits.
   *
   * @param codes I8 or F8_E4M3 [M, K]
   * @param scale F32 [M, 1], one a row
   */
  public record RowCodes(Tensor codes, Tensor scale) {}

  /**
   * {@return a matrix in codes of 8 bits, each row by its own largest magnitude}
   *
   * <p>{@code scale[m] = max(max |x[m]| / largest, 2^-126)}, where the largest code is 127 or 448,
   * and {@code codes[m] = quantize(x[m], scale[m])}. A NaN makes the scale of its row NaN.
   *
   * @param x F32 [M, K], not empty
   * @param codes I8 or F8_E4M3
   */
  public static RowCodes quantizeRows(Tensor x, DType codes) {
    requireMatrix("x", x);
    requireType("x", x, DType.F32);
    requireNotEmpty("x", x);
    if (codes != DType.I8 && codes != DType.F8_E4M3) {
      throw new IllegalArgumentException("codes of type " + codes + "; expected I8 or F8_E4M3");
    }
    RowCodes out =
        new RowCodes(
            Ops.empty(x.device(), codes, x.shape()), Ops.empty(x.device(), DType.F32, x.dim(0), 1));
    Ops.backend(x).quantizeRows(Ops.contiguous(x), out.codes(), out.scale());
    return out;
  }

  /**
   * {@return the codes of x: {@code clamp(rint(x / scale) + zero, low, high)} in I8 or U8, or
   * {@code round(clamp(x / scale, low, high))} in an F8 type}
   *
   * @param x F32 [M, K]
   * @param blocks how it is cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param low smallest code
   * @param high largest code
   * @param codes type of the codes: I8, U8 or an F8 type
   */
  public static Tensor quantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, DType codes) {
    requireBlocks(x, blocks, scale, zero);
    requireType("x", x, DType.F32);
    Tensor out = Ops.empty(x.device(), codes, x.shape());
    Ops.backend(x, scale).quantize(Ops.contiguous(x), blocks, scale, zero, low, high, out);
    return out;
  }

  /**
   * {@return {@code scale · (code − zero)}, [M, K]}
   *
   * @param codes [M, K], I8, U8 or an F8 type
   * @param blocks how they are cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param dtype any float type, that of the result
   */
  public static Tensor dequantize(
      Tensor codes, Blocks blocks, Tensor scale, Tensor zero, DType dtype) {
    requireBlocks(codes, blocks, scale, zero);
    Tensor out = Ops.empty(codes.device(), dtype, codes.shape());
    Ops.backend(codes, scale).dequantize(Ops.contiguous(codes), blocks, scale, zero, out);
    return out;
  }

  /**
   * {@return what a packed weight stands for, F32 [outputs, inputs]}
   *
   * @param w codes with their scales
   */
  public static Tensor dequantize(PackedWeight w) {
    try (Scope scope = Scope.open()) {
      Tensor scale = Ops.to(w.scales(), DType.F32);
      long[] shape = scale.shape().toArray();
      Tensor zero =
          w.zeros() == null
              ? Ops.full(scale.device(), DType.F32, 1 << (w.bits() - 1), shape)
              : Ops.to(w.zeros(), DType.F32);
      Blocks blocks = new Blocks(1, w.groupSize());
      if (w.groupIndex() != null) {
        scale = Host.columns(scale, w.groupIndex());
        zero = Host.columns(zero, w.groupIndex());
        blocks = new Blocks(1, 1);
      }
      Tensor codes = unpack(w.codes(), w.bits(), w.columns());
      return scope.keep(dequantize(codes, blocks, scale, zero, DType.F32));
    }
  }

  /**
   * {@return what {@link #dequantize} gives back of {@link #quantize}, in F32}
   *
   * @param x F32 [M, K]
   * @param blocks how it is cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param low smallest code
   * @param high largest code
   * @param codes type that the codes would have
   */
  public static Tensor fakeQuantize(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, DType codes) {
    requireBlocks(x, blocks, scale, zero);
    requireType("x", x, DType.F32);
    Tensor out = Ops.empty(x.device(), DType.F32, x.shape());
    Ops.backend(x, scale)
        .fakeQuantize(Ops.contiguous(x), blocks, scale, zero, low, high, codes, out);
    return out;
  }

  /**
   * {@return Σ (fake − x)² of each block of x, where fake is what {@link #fakeQuantize} gives}
   * Shaped like the scales.
   *
   * @param x F32 [M, K]
   * @param blocks how it is cut
   * @param scale F32, one a block
   * @param zero F32, one a block, or null for 0
   * @param low smallest code
   * @param high largest code
   * @param codes type that the codes would have
   */
  public static Tensor quantizationError(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, DType codes) {
    requireBlocks(x, blocks, scale, zero);
    requireType("x", x, DType.F32);
    Tensor out = Ops.empty(x.device(), DType.F32, scale.shape());
    Ops.backend(x, scale)
        .quantizationError(Ops.contiguous(x), blocks, scale, zero, low, high, codes, out);
    return out;
  }

  /**
   * {@return codes packed into I32 words [N, words], laid out as {@link PackedWeight} says}
   *
   * @param codes U8 [N, K], each below 2^bits
   * @param bits width of a code, 2 to 8
   */
  public static Tensor pack(Tensor codes, int bits) {
    requireMatrix("codes", codes);
    requireType("codes", codes, DType.U8);
    long words = PackedWeight.wordsPerRow(codes.dim(1), bits);
    Tensor out = Ops.empty(codes.device(), DType.I32, codes.dim(0), words);
    Ops.backend(codes).pack(Ops.contiguous(codes), bits, out);
    return out;
  }

  /**
   * {@return the U8 codes [N, columns] of words packed by {@link #pack}}
   *
   * @param words I32 [N, words]
   * @param bits width of a code, 2 to 8
   * @param columns codes in a row
   */
  public static Tensor unpack(Tensor words, int bits, long columns) {
    requireMatrix("words", words);
    requireType("words", words, DType.I32);
    requireShape("words", words, Shape.of(words.dim(0), PackedWeight.wordsPerRow(columns, bits)));
    Tensor out = Ops.empty(words.device(), DType.U8, words.dim(0), columns);
    Ops.backend(words).unpack(Ops.contiguous(words), bits, out);
    return out;
  }

  /**
   * The column loop of GPTQ over one block of columns; see {@link Backend#gptqBlock}.
   *
   * @param w F32 [N, B] with unit column stride; overwritten by the dequantized values
   * @param u F32 [B, B], upper triangular, unit column stride
   * @param scale F32 [N, B], the scale of each element's group
   * @param zero F32 [N, B], its zero point
   * @param high largest code, 2^bits − 1
   * @param codes U8 [N, B] with unit column stride, written
   * @param error F32 [N, B], written: the errors that later blocks are to make up for
   */
  public static void gptqBlock(
      Tensor w, Tensor u, Tensor scale, Tensor zero, float high, Tensor codes, Tensor error) {
    requireMatrix("w", w);
    requireShape("u", u, Shape.of(w.dim(1), w.dim(1)));
    requireShape("scale", scale, w.shape());
    requireShape("zero", zero, w.shape());
    requireShape("codes", codes, w.shape());
    requireShape("error", error, w.shape());
    requireType("codes", codes, DType.U8);
    Ops.backend(w, u).gptqBlock(w, u, scale, zero, high, codes, error);
  }
}
