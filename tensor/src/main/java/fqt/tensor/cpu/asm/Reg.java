package fqt.tensor.cpu.asm;

/** The general registers, in the order of their numbers. */
public enum Reg {
  RAX,
  RCX,
  RDX,
  RBX,
  RSP,
  RBP,
  RSI,
  RDI,
  R8,
  R9,
  R10,
  R11,
  R12,
  R13,
  R14,
  R15;

  /** The number that instructions hold: the constants stand in the order of these numbers. */
  @SuppressWarnings("EnumOrdinal")
  int number() {
    return ordinal();
  }
}
