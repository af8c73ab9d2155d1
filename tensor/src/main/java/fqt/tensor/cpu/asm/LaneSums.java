package fqt.tensor.cpu.asm;

/** Sums over the lanes of vectors. */
final class LaneSums {
  private LaneSums() {}

  /**
   * Adds up the lanes of the four registers from {@code first} on; the sums are in the lowest four
   * lanes of the first one. The registers are among the lower sixteen; the four are overwritten.
   */
  static void addUp(Assembler code, int bits, boolean integer, int first) {
    Op add = integer ? Op.VPADDD : Op.VADDPS;
    Op pairs = integer ? Op.VPHADDD : Op.VHADDPS;
    if (bits == 512) {
      int spare = 31;
      for (int i = first; i < first + 4; i++) {
        code.extract(Op.VEXTRACTF32X8, 512, spare, i, 1);
        code.vector(add, 256, i, i, spare);
      }
    }
    code.vector(pairs, 256, first, first, first + 1);
    code.vector(pairs, 256, first + 2, first + 2, first + 3);
    code.vector(pairs, 256, first, first, first + 2);
    code.extract(Op.VEXTRACTF128, 256, first + 1, first, 1);
    code.vector(add, 128, first, first, first + 1);
  }
}
