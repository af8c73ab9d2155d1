package fqt.tensor.cpu.asm;

/**
 * How a kernel writes its result. A store that misses the caches fetches the line that it is about
 * to overwrite; one past the caches does not, which is a third of what a copy moves. But whoever
 * reads the result then finds none of it in the caches.
 */
public enum Store {
  /** Into the caches. */
  NEAR,
  /** Past the caches: for results larger than they are. */
  FAR;

  /** Bytes from which on a result is larger than what the caches still hold when it is read. */
  public static final long FAR_FROM = 8 << 20;

  /** What the address of a result must be a multiple of to be written past the caches. */
  public static final long ALIGNMENT = 64;

  private static final int LINE = 64;

  /** How far ahead a kernel asks for what it reads. */
  private static final int AHEAD = 2048;

  /**
   * How to write a part of a result.
   *
   * @param address where the part begins
   * @param total bytes of the whole result
   */
  public static Store of(long address, long total) {
    return total >= FAR_FROM && address % ALIGNMENT == 0 ? FAR : NEAR;
  }

  /** Writes a vector. */
  void emit(Assembler code, int bits, int register, Reg base, int displacement) {
    Op op = this == FAR ? Op.VMOVNTPS : Op.VMOVUPS_STORE;
    code.vector(op, bits, register, base, displacement);
  }

  /** Asks for so many bytes of what is read next. */
  void ask(Assembler code, Reg from, int bytes) {
    for (int at = 0; at < bytes && this == FAR; at += LINE) {
      code.prefetch(Mem.at(from, AHEAD + at));
    }
  }

  /** Ends a function. */
  void end(Assembler code) {
    if (this == FAR) {
      code.storeFence();
    }
    code.vzeroupper();
    code.ret();
  }
}
