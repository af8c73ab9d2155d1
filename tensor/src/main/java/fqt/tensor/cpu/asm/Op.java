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
  /** Stores a vector past the caches; to a multiple of its size. */
  VMOVNTPS(0, 1, 0x2b, 0),
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
  /** {@code reg = vvvv - rm}, i32. */
  VPSUBD(1, 1, 0xfa, 0),
  /** The larger of two i32. */
  VPMAXSD(1, 2, 0x3d, 0),
  /** The smaller of two i32. */
  VPMINSD(1, 2, 0x39, 0),
  /** i32 of two vectors to i16, saturating, within each 128 bits. */
  VPACKSSDW(1, 1, 0x6b, 0),
  /** i16 of two vectors to i8, saturating, within each 128 bits. */
  VPACKSSWB(1, 1, 0x63, 0),
  /** i16 of two vectors to u8, saturating, within each 128 bits. */
  VPACKUSWB(1, 1, 0x67, 0),
  /** The four bytes of rm at the places that vvvv holds. */
  VPERMD(1, 2, 0x36, 0),
  /** s8 to i32; memory of a quarter of the width. */
  VPMOVSXBD(1, 2, 0x21, -4),
  /** u8 to i32; memory of a quarter of the width. */
  VPMOVZXBD(1, 2, 0x31, -4),
  /** u8 to i16; memory of half the width. */
  VPMOVZXBW(1, 2, 0x30, -2),
  /** Products of i16 pairs, added in pairs to i32. */
  VPMADDWD(1, 1, 0xf5, 0),
  /** Four bytes from memory to all i32 lanes. */
  VPBROADCASTD(1, 2, 0x58, 4),
  /** Sums of four u8 (vvvv) by s8 (rm) products added to i32: AVX512-VNNI, else vexDotBytes. */
  VPDPBUSD(1, 2, 0x50, 0, -1, true),
  /** Two bf16 products added to each f32, subnormals taken as zero (AVX512-BF16). */
  VDPBF16PS(2, 2, 0x52, 0, -1, true),
  /** {@code reg = rm - reg * vvvv}: {@code reg -= vvvv * rm}, f32. */
  VFNMADD231PS(1, 2, 0xbc, 0),
  /** {@code reg = vvvv * reg - rm}, f32. */
  VFMSUB213PS(1, 2, 0xaa, 0),
  /** {@code reg = vvvv - rm}, f32. */
  VSUBPS(0, 1, 0x5c, 0),
  /** {@code reg = vvvv * reg + rm}, f32. */
  VFMADD213PS(1, 2, 0xa8, 0),
  /** {@code reg = vvvv / rm}, f32. */
  VDIVPS(0, 1, 0x5e, 0),
  /** {@code reg = vvvv > rm ? vvvv : rm}, f32: rm if either is NaN. */
  VMAXPS(0, 1, 0x5f, 0),
  /** {@code reg = vvvv < rm ? vvvv : rm}, f32: rm if either is NaN. */
  VMINPS(0, 1, 0x5d, 0),
  /** f32 to f64, half as many; memory of half the width; VEX only. */
  VCVTPS2PD(0, 1, 0x5a, -2),
  /** {@code reg = vvvv + rm}, f64; VEX only. */
  VADDPD(1, 1, 0x58, 0),
  /** {@code reg = vvvv - rm}, f64; VEX only. */
  VSUBPD(1, 1, 0x5c, 0),
  /** {@code reg = vvvv * rm}, f64; VEX only. */
  VMULPD(1, 1, 0x59, 0),
  /** i32 to f32. */
  VCVTDQ2PS(0, 1, 0x5b, 0),
  /** f32 to i32, towards zero. */
  VCVTTPS2DQ(2, 1, 0x5b, 0),
  /** f32 to i32, to the nearest, ties to even. */
  VCVTPS2DQ(1, 1, 0x5b, 0),
  /** f32 to whole f32 as a constant says; in EVEX it is called vrndscaleps. */
  VROUNDPS(1, 3, 0x08, 0),
  /** f16 to f32; memory of half the width. */
  VCVTPH2PS(1, 2, 0x13, -2),
  /** f32 to f16 as a constant says, 0 for the nearest; half as wide; registers in VEX only. */
  VCVTPS2PH(1, 3, 0x1d, -2),
  /** i16, added. */
  VPADDW(1, 1, 0xfd, 0),
  /** Products of u8 (vvvv) by s8 (rm), added in pairs to i16, saturating. */
  VPMADDUBSW(1, 2, 0x04, 0),
  /** u16 to i32; memory of half the width. */
  VPMOVZXWD(1, 2, 0x33, -2),
  /** s8 to i16; memory of half the width. */
  VPMOVSXBW(1, 2, 0x20, -2),
  /** Bitwise and; in EVEX it is called vpandd. */
  VPAND(1, 1, 0xdb, 0),
  /** Bitwise exclusive or; in EVEX it is called vpxord. */
  VPXOR(1, 1, 0xef, 0),
  /** Bitwise or; VEX only. */
  VPOR(1, 1, 0xeb, 0),
  /** Bits of rm that vvvv has not; VEX only. */
  VPANDN(1, 1, 0xdf, 0),
  /** All bits where vvvv and rm compare as a constant says, f32: 3 where one is NaN; VEX only. */
  VCMPPS(0, 1, 0xc2, 0),
  /** All bits where vvvv > rm, i32; VEX only. */
  VPCMPGTD(1, 1, 0x66, 0),
  /** All bits where vvvv = rm, i16; VEX only. */
  VPCMPEQW(1, 1, 0x75, 0),
  /** i32 of two vectors to u16, saturating, within each 128 bits. */
  VPACKUSDW(1, 2, 0x2b, 0),
  /** i16 shifted left by a constant. */
  VPSLLW(1, 1, 0x71, 0, 6, false),
  /** i32 shifted left by a constant. */
  VPSLLD(1, 1, 0x72, 0, 6, false),
  /** u32 shifted right by a constant. */
  VPSRLD(1, 1, 0x72, 0, 2, false),
  /** i32 shifted right by a constant, with its sign. */
  VPSRAD(1, 1, 0x72, 0, 4, false),
  /** u16 shifted right by a constant. */
  VPSRLW(1, 1, 0x71, 0, 2, false),
  /** Sums of neighbours of two vectors, f32; VEX only. */
  VHADDPS(3, 1, 0x7c, 0),
  /** Sums of neighbours of two vectors, i32; VEX only. */
  VPHADDD(1, 2, 0x02, 0),
  /**
   * Bytes of vvvv at the places that rm holds, within each 128 bits; 0 where those are negative.
   */
  VPSHUFB(1, 2, 0x00, 0),
  /** Lower i16 of two vectors by turns. */
  VPUNPCKLWD(1, 1, 0x61, 0),
  /** Upper i16 of two vectors by turns. */
  VPUNPCKHWD(1, 1, 0x69, 0),
  /** Lower elements of two vectors by turns, f32. */
  VUNPCKLPS(0, 1, 0x14, 0),
  /** Upper elements of two vectors by turns, f32. */
  VUNPCKHPS(0, 1, 0x15, 0),
  /** Lower pairs of f32 of two vectors; VEX only. */
  VUNPCKLPD(1, 1, 0x14, 0),
  /** Upper pairs of f32 of two vectors; VEX only. */
  VUNPCKHPD(1, 1, 0x15, 0),
  /** The upper half of 256 bits from memory; VEX only. */
  VINSERTF128(1, 3, 0x18, 0),
  /** One half of 256 bits. */
  VEXTRACTF128(1, 3, 0x19, 0),
  /** One half of 512 bits. */
  VEXTRACTF32X8(1, 3, 0x1b, 0, -1, true),
  /** Any order of the four f32 in each 128 bits, by a constant. */
  VPERMILPS(1, 3, 0x04, 0),
  /** Any two halves of two vectors of 256 bits, by a constant; VEX only. */
  VPERM2F128(1, 3, 0x06, 0),
  /** Quarters of two vectors of 512 bits, two of each, by a constant. */
  VSHUFF32X4(1, 3, 0x23, 0, -1, true),
  /** The shapes of tiles. */
  LDTILECFG(0, 2, 0x49, 0),
  /** Loads a tile. */
  TILELOADD(3, 2, 0x4b, 0),
  /** Stores a tile. */
  TILESTORED(2, 2, 0x4b, 0),
  /** Products of s8 tiles added to i32. */
  TDPBSSD(3, 2, 0x5e, 0),
  /** Products of bf16 tiles added to f32. */
  TDPBF16PS(2, 2, 0x5c, 0);

  final int prefix;
  final int map;
  final int opcode;

  /** What stands in modrm instead of a register, or −1. */
  final int digit;

  /** Whether there is no VEX form. */
  final boolean evexOnly;

  private final int scalarBytes;

  Op(int prefix, int map, int opcode, int scalarBytes) {
    this(prefix, map, opcode, scalarBytes, -1, false);
  }

  Op(int prefix, int map, int opcode, int scalarBytes, int digit, boolean evexOnly) {
    this.prefix = prefix;
    this.map = map;
    this.opcode = opcode;
    this.scalarBytes = scalarBytes;
    this.digit = digit;
    this.evexOnly = evexOnly;
  }

  /** Bytes of the memory operand of a vector of that many bits; scales short displacements. */
  int memoryBytes(int bits) {
    return scalarBytes > 0 ? scalarBytes : scalarBytes < 0 ? bits / 8 / -scalarBytes : bits / 8;
  }
}
