package fqt.tensor.cpu.asm;

/**
 * The vector instructions that the kernels use. Every one is encoded as
 *
 * <pre>
 *   VEX   C5 | RvvvvLpp | opcode | modrm            or
 *         C4 | RXBmmmmm | WvvvvLpp | opcode | modrm
 *   EVEX  62 | RXBR'0mmm | Wvvvv1pp | zL'LbV'aaa | opcode | modrm
 * </pre>
 *
 * with the register numbers' upper bits and vvvv inverted (Intel SDM, volume 2, sections 2.3, 2.7).
 */
public enum Op {
  /** Bitwise exclusive or; of a register with itself: zero. */
  VXORPS(0, 1, 0x57, 0),
  /** Loads a vector. */
  VMOVUPS(0, 1, 0x10, 0),
  /** Stores a vector. */
  VMOVUPS_STORE(0, 1, 0x11, 0),
  /** Stores the lowest f32. */
  VMOVSS_STORE(2, 1, 0x11, 4),
  /** One f32 from memory to all lanes. */
  VBROADCASTSS(1, 2, 0x18, 4),
  /** {@code reg += vvvv * rm}, f32. */
  VFMADD231PS(1, 2, 0xb8, 0),
  /** {@code reg = vvvv * rm}, f32. */
  VMULPS(0, 1, 0x59, 0),
  /** {@code reg = vvvv + rm}, f32. */
  VADDPS(0, 1, 0x58, 0),
  /** {@code reg = vvvv + rm}, i32. */
  VPADDD(1, 1, 0xfe, 0),
  /** Products of i16 pairs, added in pairs to i32. */
  VPMADDWD(1, 1, 0xf5, 0),
  /** Four bytes from memory to all i32 lanes. */
  VPBROADCASTD(1, 2, 0x58, 4),
  /** Sums of four u8 (vvvv) by s8 (rm) products added to i32 (AVX512-VNNI, AVX-VNNI). */
  VPDPBUSD(1, 2, 0x50, 0);

  final int prefix;
  final int map;
  final int opcode;

  /** Bytes of a scalar memory operand, or 0 for a whole vector; scales 8-bit displacements. */
  final int scalarBytes;

  Op(int prefix, int map, int opcode, int scalarBytes) {
    this.prefix = prefix;
    this.map = map;
    this.opcode = opcode;
    this.scalarBytes = scalarBytes;
  }
}
