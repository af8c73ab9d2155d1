package fqt.quant;

import fqt.tensor.BinaryOp;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;

/**
 * Turns matrices into small codes and back: {@code x ≈ scale · (code − zero)} with one scale a
 * block.
 *
 * <p>Integer codes are unsigned, 0 … 2^bits − 1; symmetric ones have the zero point 2^(bits−1)
 * everywhere. A scale is rounded to the type that it will be stored in before any code is chosen,
 * so that what is written is what was computed with. Rounding is half to even, values saturate.
 *
 * @param codes type of the codes: U8 for integers, F8_E4M3 for 8-bit floats
 * @param bits width of a code, 2 to 8; 8 for floats
 * @param blocks which elements share a scale
 * @param symmetric whether the range is centred on zero; otherwise it spans the block's smallest
 *     and largest element and zero
 * @param rule how a symmetric integer scale follows from the largest magnitude
 * @param scaleType float type in which scales are stored
 * @param search whether scales are shrunk to the least squared error instead of covering the range
 */
public record Quantizer(
    DType codes,
    int bits,
    Blocks blocks,
    boolean symmetric,
    ScaleRule rule,
    DType scaleType,
    boolean search) {
  /**
   * Scales and zero points, one a block.
   *
   * @param scale F32 of the blocks' scale shape, every value exact in the scale type
   * @param zero like scale, whole numbers; null for float codes
   */
  public record Params(Tensor scale, Tensor zero) {}

  /**
   * Checks the choice.
   *
   * @throws IllegalArgumentException if bits or types do not exist
   */
  public Quantizer {
    if (bits < 2 || bits > 8) {
      throw new IllegalArgumentException("codes of " + bits + " bits; expected 2 to 8");
    }
    if (codes != DType.U8 && (codes != DType.F8_E4M3 || bits != 8 || !symmetric)) {
      throw new IllegalArgumentException(
          codes + " codes of " + bits + " bits; expected U8, or F8_E4M3 of 8 bits, symmetric");
    }
    if (!scaleType.isFloat() || scaleType.byteSize() < 2) {
      throw new IllegalArgumentException(
          "scales of type " + scaleType + "; expected F32, F16 or BF16");
    }
  }

  /**
   * {@return a quantizer to symmetric integers over the full range, with scales in F32}
   *
   * @param bits width of a code, 2 to 8
   * @param blocks which elements share a scale
   */
  public static Quantizer integer(int bits, Blocks blocks) {
    return new Quantizer(DType.U8, bits, blocks, true, ScaleRule.FULL_RANGE, DType.F32, false);
  }

  /**
   * {@return a quantizer to 8-bit floats (e4m3), with scales in F32}
   *
   * @param blocks which elements share a scale
   */
  public static Quantizer fp8(Blocks blocks) {
    return new Quantizer(DType.F8_E4M3, 8, blocks, true, ScaleRule.FULL_RANGE, DType.F32, false);
  }

  /**
   * {@return the same over other blocks}
   *
   * @param newBlocks which elements share a scale
   */
  public Quantizer withBlocks(Blocks newBlocks) {
    return new Quantizer(codes, bits, newBlocks, symmetric, rule, scaleType, search);
  }

  /**
   * {@return the same with a centred range or one that follows the block}
   *
   * @param newSymmetric whether the range is centred on zero
   */
  public Quantizer withSymmetric(boolean newSymmetric) {
    return new Quantizer(codes, bits, blocks, newSymmetric, rule, scaleType, search);
  }

  /**
   * {@return the same with another scale rule}
   *
   * @param newRule how a symmetric scale follows from the largest magnitude
   */
  public Quantizer withRule(ScaleRule newRule) {
    return new Quantizer(codes, bits, blocks, symmetric, newRule, scaleType, search);
  }

  /**
   * {@return the same with scales stored in another type}
   *
   * @param newType F32, F16 or BF16
   */
  public Quantizer withScaleType(DType newType) {
    return new Quantizer(codes, bits, blocks, symmetric, rule, newType, search);
  }

  /**
   * {@return the same with or without the search for the least squared error}
   *
   * @param newSearch whether scales are shrunk to the least squared error
   */
  public Quantizer withSearch(boolean newSearch) {
    return new Quantizer(codes, bits, blocks, symmetric, rule, scaleType, newSearch);
  }

  /** {@return whether codes are whole numbers, rather than floats} */
  public boolean isInteger() {
    return codes == DType.U8;
  }

  /** {@return whether codes are integers and every row has scales of its own} */
  public boolean isIntegerByRow() {
    return isInteger() && blocks.rows() == 1;
  }

  /** {@return the smallest code} */
  public float low() {
    return isInteger() ? 0 : -Float8.E4M3_MAX;
  }

  /** {@return the largest code} */
  public float high() {
    return isInteger() ? (1 << bits) - 1 : Float8.E4M3_MAX;
  }

  /** {@return the code of zero, if symmetric} */
  public float middle() {
    return isInteger() ? 1 << (bits - 1) : 0;
  }

  /**
   * {@return scales and zero points for a matrix}
   *
   * @param x F32 [M, K], not empty
   */
  public Params fit(Tensor x) {
    try (Scope scope = Scope.open()) {
      QuantOps.Range range = QuantOps.blockRange(x, blocks);
      Params params;
      if (search) {
        // The grid of the reference GPTQ, which weighs outliers more: |error|^2.4.
        float[] best =
            ShrinkSearch.best(
                100, 80, s -> Host.floats(error(x, shrunk(range, constant(range.min(), s)))));
        params = shrunk(range, Host.tensor(x.device(), best, range.min().shape().toArray()));
      } else {
        params = params(range.min(), range.max());
      }
      scope.keepAll(params.scale(), params.zero());
      return params;
    }
  }

  private Params shrunk(QuantOps.Range range, Tensor factor) {
    return params(Ops.multiply(range.min(), factor), Ops.multiply(range.max(), factor));
  }

  /** Scales and zero points of blocks with the given ranges. */
  private Params params(Tensor min, Tensor max) {
    Tensor none = constant(min, 0);
    Tensor low = Ops.binary(BinaryOp.MIN, min, none);
    Tensor high = Ops.binary(BinaryOp.MAX, max, none);
    if (symmetric) {
      high = Ops.binary(BinaryOp.MAX, high, Ops.affine(low, -1, 0));
      low = Ops.affine(high, -1, 0);
    }
    Tensor scale = stored(Ops.divide(Ops.subtract(high, low), constant(low, steps())));
    if (!isInteger()) {
      return new Params(scale, null);
    }
    if (symmetric) {
      long[] shape = scale.shape().toArray();
      return new Params(scale, Ops.full(scale.device(), DType.F32, middle(), shape));
    }
    Blocks each = new Blocks(1, 1);
    Tensor zero = QuantOps.quantize(Ops.affine(low, -1, 0), each, scale, null, 0, high(), DType.U8);
    return new Params(scale, Ops.to(zero, DType.F32));
  }

  /** Scales from the lower end of a block's range to the upper. */
  private float steps() {
    boolean spare = isInteger() && symmetric && rule == ScaleRule.RESTRICTED_RANGE;
    return high() - low() - (spare ? 1 : 0);
  }

  /** Rounds scales to their stored type; a scale that would vanish becomes the smallest one. */
  private Tensor stored(Tensor scale) {
    double smallest = scaleType == DType.F16 ? 0x1p-24 : Float.MIN_NORMAL;
    Tensor floored = Ops.binary(BinaryOp.MAX, scale, constant(scale, smallest));
    return Ops.to(Ops.to(floored, scaleType), DType.F32);
  }

  /** A value for each element of the last dimension of x. */
  private static Tensor constant(Tensor x, double value) {
    return Ops.full(x.device(), DType.F32, value, x.dim(-1));
  }

  /**
   * {@return the codes of a matrix under given scales, like it in shape}
   *
   * @param x F32 [M, K]
   * @param params one scale a block of {@code x}
   */
  public Tensor encode(Tensor x, Params params) {
    return QuantOps.quantize(x, blocks, params.scale(), params.zero(), low(), high(), codes);
  }

  /**
   * {@return codes of 8 bits as products take them, with one scale a row}
   *
   * @param x F32 [M, K], not empty
   */
  QuantOps.RowCodes encodeRows(Tensor x) {
    DType type = isInteger() ? DType.I8 : codes;
    boolean plain = blocks.equals(Blocks.PER_ROW) && scaleType == DType.F32 && !search;
    if (plain && (!isInteger() || rule == ScaleRule.RESTRICTED_RANGE)) {
      return QuantOps.quantizeRows(x, type);
    }
    try (Scope scope = Scope.open()) {
      Tensor scale = fit(x).scale();
      Tensor perRow = forRows(scale, x.dim(0));
      float low = low() - middle();
      float high = high() - middle();
      Tensor encoded = QuantOps.quantize(x, blocks, scale, null, low, high, type);
      scope.keepAll(encoded, perRow);
      return new QuantOps.RowCodes(encoded, perRow);
    }
  }

  /** One scale a row [rows, 1], from that or from one in all. */
  static Tensor forRows(Tensor scale, long rows) {
    return scale.dim(0) == rows
        ? scale
        : Ops.gatherRows(scale, Ops.full(scale.device(), DType.I32, 0, rows));
  }

  /**
   * {@return what codes stand for, F32 [M, K]}
   *
   * @param encoded codes [M, K]
   * @param params the scales that they were made with
   */
  public Tensor decode(Tensor encoded, Params params) {
    return QuantOps.dequantize(encoded, blocks, params.scale(), params.zero(), DType.F32);
  }

  /** Σ (fake − x)² of each block of x under given scales. */
  Tensor error(Tensor x, Params params) {
    return QuantOps.quantizationError(
        x, blocks, params.scale(), params.zero(), low(), high(), codes);
  }

  /**
   * {@return what fitting, encoding and decoding makes of a matrix, F32 [M, K]}
   *
   * @param x F32 [M, K], not empty
   */
  public Tensor fake(Tensor x) {
    try (Scope scope = Scope.open()) {
      Params params = fit(x);
      return scope.keep(
          QuantOps.fakeQuantize(x, blocks, params.scale(), params.zero(), low(), high(), codes));
    }
  }

  /**
   * Quantizes a weight, F32 [N, K].
   *
   * @param weight F32 [outputs, inputs]
   * @return codes and scales, in the current scope
   * @throws IllegalArgumentException if a scale does not fit its type
   */
  public QuantizedWeight quantize(Tensor weight) {
    try (Scope scope = Scope.open()) {
      Params params = fit(weight);
      Tensor encoded = scope.keep(encode(weight, params));
      scope.keepAll(params.scale(), params.zero());
      return new QuantizedWeight(this, encoded, params.scale(), params.zero(), null);
    }
  }

  /** {@return the type of the codes, such as {@code int4} or {@code fp8}} */
  public String typeName() {
    return isInteger() ? "int" + bits : "fp8";
  }

  @Override
  public String toString() {
    return typeName() + (symmetric ? "" : " asymmetric") + " " + blocks;
  }
}
