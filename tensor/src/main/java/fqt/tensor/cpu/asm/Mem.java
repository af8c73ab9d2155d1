package fqt.tensor.cpu.asm;

/**
 * A place in memory: {@code [base + scale * index + displacement]}.
 *
 * @param base the register that holds an address
 * @param index another register, or null for none; never rsp
 * @param scale 1, 2, 4 or 8
 * @param displacement in bytes
 */
public record Mem(Reg base, Reg index, int scale, int displacement) {
  /**
   * Checks what can be encoded.
   *
   * @throws IllegalArgumentException if the index or its scale cannot
   */
  public Mem {
    if (index == Reg.RSP || Integer.bitCount(scale) != 1 || scale > 8 || scale < 1) {
      throw new IllegalArgumentException("no address with " + scale + " times " + index);
    }
  }

  /** {@code [base + displacement]}. */
  public static Mem at(Reg base, int displacement) {
    return new Mem(base, null, 1, displacement);
  }

  /** {@code [base + scale * index + displacement]}. */
  public static Mem at(Reg base, Reg index, int scale, int displacement) {
    return new Mem(base, index, scale, displacement);
  }

  /** A place in one of four rows that are a stride apart; registers hold it and its threefold. */
  static Mem inRow(Reg base, Reg stride, Reg threefold, int row, int displacement) {
    return switch (row) {
      case 0 -> at(base, displacement);
      case 1, 2 -> at(base, stride, row, displacement);
      default -> at(base, threefold, 1, displacement);
    };
  }

  int extendBase() {
    return base.number() >> 3;
  }

  int extendIndex() {
    return index == null ? 0 : index.number() >> 3;
  }
}
