package fqt.tensor.cpu.asm;

/**
 * How x and the codes of a weight meet in {@link CodeDotKernel}. Codes stay integers until the end
 * of their group, and x is given as whole numbers for each group of it, in a table that {@link
 * WholeKernel} makes:
 *
 * <ul>
 *   <li>For 4-bit codes a whole number is two or three signed bytes, {@code 2^8 high + low} or
 *       {@code 2^16 high + 2^8 middle + low}. A vector of codes meets, from the highest to the
 *       lowest, a vector of bytes of its even terms and one of its odd terms.
 *   <li>For 8-bit codes it is an i16, or two, {@code 2^11 high + low}. Half a vector of codes meets
 *       a vector of each.
 *   <li>Behind the numbers of a group, where they have three digits, comes a vector of what zero
 *       points multiply: the sum of the numbers that meet in each lane of 32 bits as f32. Where all
 *       zero points are {@code 2^(codeBits - 1)}, it is minus that times the sum: as i32 for 4-bit
 *       codes, as f32 for 8-bit ones.
 *   <li>With two digits zero points are taken off a row of the weight at once, before its codes are
 *       added: {@link CodeScaleKernel} makes these starts from the sums of whole groups. That adds
 *       up numbers which cancel, in f32, whose rounding is small beside that of x.
 * </ul>
 *
 * @param codeBits bits of a code, 4 or 8
 * @param bits width of the vectors: 128, 256 or 512
 * @param group terms that share a scale: 32, 64 or 128, a multiple of {@code bits / codeBits}; no
 *     more than {@code bits / 2}, or sums would not fit into 32 bits
 * @param digits 2 or 3: whole numbers of 15 bits and a sign, or of 22
 * @param zeros whether there are zero points; if not they are all {@code 2^(codeBits - 1)}
 */
public record CodeLayout(int codeBits, int bits, int group, int digits, boolean zeros) {
  /** How many numbers {@link CodeScaleKernel} reads and writes at a time. */
  public static final int BLOCK = 8;

  /** Bits of the lower i16 of a number of three digits. */
  static final int LOW_BITS = 11;

  /** Bytes of a vector. */
  public int vectorBytes() {
    return bits / Byte.SIZE;
  }

  /** Lanes of 32 bits in a vector. */
  public int lanes() {
    return bits / Integer.SIZE;
  }

  /** Vectors of 4-bit codes in a group, or of i16 numbers where codes have 8 bits. */
  public int vectors() {
    return codeBits == 4 ? group * 4 / bits : group * Short.SIZE / bits;
  }

  /** Vectors of x that a vector of codes meets. */
  public int parts() {
    return codeBits == 4 ? 2 * digits : digits - 1;
  }

  /** Whether zero points are taken off at the start of a row. */
  public boolean hasStarts() {
    return digits == 2;
  }

  /** Where in the table of a group what zero points multiply is, in bytes. */
  public int ends() {
    return parts() * vectors() * vectorBytes();
  }

  /** Bytes of the table of x for one group. */
  public int tableBytes() {
    return ends() + (hasStarts() ? 0 : vectorBytes());
  }

  /** Bytes of the codes of one group. */
  public int codeBytes() {
    return group * codeBits / Byte.SIZE;
  }

  /**
   * Bytes of what is known of a row of a weight beside its codes: the start of its sum in eight
   * lanes of f32 if there are starts, a scale for each group, and if there are no starts but zero
   * points, these. Scales and zero points are f32 and take whole blocks.
   */
  public long recordBytes(long groups) {
    long block = (long) BLOCK * Float.BYTES;
    long row = Math.ceilDiv(groups, (long) BLOCK) * block;
    return hasStarts() ? block + row : zeros ? 2 * row : row;
  }
}
