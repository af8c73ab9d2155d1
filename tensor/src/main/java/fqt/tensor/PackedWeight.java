package fqt.tensor;

/**
 * A weight of {@code rows} outputs by {@code columns} inputs, stored as small unsigned codes:
 * {@code w[n][k] = scale[n][g(k)] * (code[n][k] - zero[n][g(k)])} with {@code g(k) = k / groupSize}
 * or, when there is a group index, {@code groupIndex[k]}.
 *
 * <p>A row's codes are one stream of bits, least significant first, {@code ceil(columns * bits /
 * 32)} words long: with 4 bits, input {@code k} is in bits {@code 4 * (k % 8)} of word {@code k /
 * 8}.
 *
 * @param bits width of a code, 2 to 8
 * @param columns inputs
 * @param groupSize inputs that share a scale; the number of inputs for one scale a row
 * @param codes I32 [rows, ceil(columns * bits / 32)]
 * @param scales F32, F16 or BF16 [rows, groups]
 * @param zeros U8 [rows, groups], or null for 2^(bits-1) everywhere
 * @param groupIndex I32 [columns], or null for {@code k / groupSize}
 */
public record PackedWeight(
    int bits,
    long columns,
    long groupSize,
    Tensor codes,
    Tensor scales,
    Tensor zeros,
    Tensor groupIndex) {
  /**
   * Checks types and shapes.
   *
   * @throws IllegalArgumentException if they do not fit together
   */
  public PackedWeight {
    if (bits < 2 || bits > 8) {
      throw new IllegalArgumentException("codes of " + bits + " bits; expected 2 to 8");
    }
    if (columns < 1 || groupSize < 1 || groupSize > columns) {
      throw new IllegalArgumentException(
          "group size " + groupSize + " does not fit " + columns + " columns");
    }
    long rows = codes.dim(0);
    require("codes", codes, DType.I32, Shape.of(rows, wordsPerRow(columns, bits)));
    Shape perGroup = Shape.of(rows, Math.ceilDiv(columns, groupSize));
    require("scales", scales, scales.dtype().isFloat() ? scales.dtype() : DType.F32, perGroup);
    if (zeros != null) {
      require("zeros", zeros, DType.U8, perGroup);
    }
    if (groupIndex != null) {
      require("groupIndex", groupIndex, DType.I32, Shape.of(columns));
    }
  }

  /**
   * {@return the words that the codes of one row take}
   *
   * @param columns inputs, that is codes in a row
   * @param bits width of a code
   */
  public static long wordsPerRow(long columns, int bits) {
    return Math.ceilDiv(Math.multiplyExact(columns, (long) bits), Integer.SIZE);
  }

  /** {@return how many outputs there are} */
  public long rows() {
    return codes.dim(0);
  }

  /** {@return how many scales a row has} */
  public long groups() {
    return scales.dim(1);
  }

  /** {@return the bytes of codes, scales, zero points and group index together} */
  public long byteSize() {
    return codes.byteSize()
        + scales.byteSize()
        + (zeros == null ? 0 : zeros.byteSize())
        + (groupIndex == null ? 0 : groupIndex.byteSize());
  }

  private static void require(String name, Tensor tensor, DType dtype, Shape shape) {
    if (tensor.dtype() != dtype || !tensor.shape().equals(shape)) {
      throw new IllegalArgumentException(
          "%s of a packed weight is %s; expected %s%s".formatted(name, tensor, dtype, shape));
    }
  }
}
