package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * F32 and BF16 to codes of an 8-bit float type and back, 32 numbers at a time, without tables.
 *
 * <p>To a code: a number to which a power of two is added that is 2^20 times its own (2^21 for two
 * bits of fraction), and at least that of the smallest normal number, is rounded to the bits of a
 * code in the lowest bits of the sum. From a code: shifted into the place of an F16, it is a number
 * of that type, but for a power of two; the processor widens those, subnormal ones too.
 */
public final class Float8Kernel {
  /** Numbers that are worked on together. */
  public static final int BLOCK = 32;

  /** The 8-bit types. */
  public enum Type {
    /** Four bits of exponent, three of fraction, no infinity. */
    E4M3(3, 7, 448),
    /** Five bits of exponent, two of fraction. */
    E5M2(2, 15, 57344);

    private final int fraction;
    private final int bias;
    private final float largest;

    Type(int fraction, int bias, float largest) {
      this.fraction = fraction;
      this.bias = bias;
      this.largest = largest;
    }

    /** Where the lowest bit of the fraction is in an F32. */
    private int place() {
      return 23 - fraction;
    }
  }

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;
  private static final int INFINITE = 0x7f800000;

  /** The order in which groups of four codes are written, as bytes. */
  private static final int[] ORDER = {0x05010400, 0x07030602};

  private static final int SCALE = 7;
  private static final int ORDERED = 8;
  private static final int MAGNITUDE = 9;
  private static final int LARGEST = 10;
  private static final int EXPONENT = 11;
  private static final int LEAST = 12;
  private static final int AWAY = 13;
  private static final int SIGNS = 15;

  private final MachineFunction encode;
  private final MachineFunction encodeHalf;
  private final MachineFunction quantize;
  private final MachineFunction decode;
  private final MachineFunction decodeFar;
  private final MachineFunction decodeHalf;
  private final MachineFunction decodeHalfFar;

  /**
   * Assembles the kernels of one type.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public Float8Kernel(Type type) throws ExecutableMemory.Refused {
    encode = new MachineFunction(3, encodeCode(type, false, false));
    encodeHalf = new MachineFunction(3, encodeCode(type, true, false));
    quantize = new MachineFunction(6, encodeCode(type, false, true));
    decode = new MachineFunction(3, decodeCode(type, false, Store.NEAR));
    decodeFar = new MachineFunction(3, decodeCode(type, false, Store.FAR));
    decodeHalf = new MachineFunction(3, decodeCode(type, true, Store.NEAR));
    decodeHalfFar = new MachineFunction(3, decodeCode(type, true, Store.FAR));
  }

  /**
   * The nearest codes, ties to even; beyond the largest number, that; NaN stays NaN.
   *
   * @param blocks at least 1
   * @param half whether x is BF16, not F32
   */
  public void encode(long blocks, boolean half, MemorySegment x, MemorySegment codes) {
    (half ? encodeHalf : encode).call(blocks, address(x), address(codes));
    keep(x, codes);
  }

  /**
   * The codes of {@code x / scale}.
   *
   * @param blocks at least 1
   * @param x F32
   * @param scale one F32
   * @param next address of what will be wanted next; nothing is read there
   * @param lines how many bytes of it are asked for with each 64 bytes of x: 64, or 32
   */
  public void quantize(
      long blocks,
      MemorySegment x,
      MemorySegment codes,
      MemorySegment scale,
      long next,
      long lines) {
    quantize.call(blocks, address(x), address(codes), address(scale), next, lines);
    keep(x, codes, scale);
  }

  /**
   * The numbers that codes stand for.
   *
   * @param blocks at least 1
   * @param half whether they are written as BF16, not F32
   * @param store FAR only if out begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void decode(
      long blocks, MemorySegment codes, boolean half, MemorySegment out, Store store) {
    MachineFunction near = half ? decodeHalf : decode;
    MachineFunction far = half ? decodeHalfFar : decodeFar;
    (store == Store.FAR ? far : near).call(blocks, address(codes), address(out));
    keep(codes, out);
  }

  /** rdi blocks, rsi x, rdx codes, rcx scale, r8 next, r9 half a step there. */
  private static byte[] encodeCode(Type type, boolean half, boolean divides) {
    Assembler code = new Assembler();
    constants(code, type);
    if (divides) {
      code.vector(Op.VBROADCASTSS, BITS, SCALE, Reg.RCX, 0);
    }
    int block = code.here();
    if (divides) {
      code.prefetch(Mem.at(Reg.R8, 0));
      code.prefetch(Mem.at(Reg.R8, Reg.R9, 1, 0));
      code.add(Reg.R8, Reg.R9);
      code.add(Reg.R8, Reg.R9);
    }
    for (int v = 0; v < 4; v++) {
      if (half) {
        code.vector(Op.VPMOVZXWD, BITS, v, 0, Mem.at(Reg.RSI, v * BYTES / 2));
        code.shift(Op.VPSLLD, BITS, v, v, 16);
      } else {
        code.vector(Op.VMOVUPS, BITS, v, Reg.RSI, v * BYTES);
      }
      if (divides) {
        code.vector(Op.VDIVPS, BITS, v, v, SCALE);
      }
    }
    // Saturating, so that the sign of a number becomes that of a byte.
    code.vector(Op.VPACKSSDW, BITS, 4, 0, 1);
    code.vector(Op.VPACKSSDW, BITS, 5, 2, 3);
    code.vector(Op.VPACKSSWB, BITS, 4, 4, 5);
    code.vector(Op.VPAND, BITS, 4, 4, SIGNS);
    for (int v = 0; v < 4; v++) {
      magnitude(code, type, v);
    }
    code.vector(Op.VPACKSSDW, BITS, 0, 0, 1);
    code.vector(Op.VPACKSSDW, BITS, 2, 2, 3);
    code.vector(Op.VPACKUSWB, BITS, 0, 0, 2);
    code.vector(Op.VPOR, BITS, 0, 0, 4);
    code.vector(Op.VPERMD, BITS, 0, ORDERED, 0);
    code.vector(Op.VMOVUPS_STORE, BITS, 0, Reg.RDX, 0);
    code.add(Reg.RSI, half ? 2 * BYTES : 4 * BYTES);
    code.add(Reg.RDX, BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  private static void constants(Assembler code, Type type) {
    code.broadcast(BITS, MAGNITUDE, 0x7fffffff);
    code.broadcast(BITS, LARGEST, Float.floatToRawIntBits(type.largest));
    code.broadcast(BITS, EXPONENT, INFINITE);
    code.broadcast(BITS, LEAST, 128 - type.bias << 23);
    code.broadcast(BITS, AWAY, type.place() << 23);
    code.broadcast(BITS, SIGNS, 0x80808080);
    for (int i = 0; i < ORDER.length; i++) {
      code.move(Reg.RAX, ORDER[i]);
      code.storeInt(Reg.RAX, Reg.RSP, -16 + i * Integer.BYTES);
    }
    code.vector(Op.VPMOVZXBD, BITS, ORDERED, 0, Mem.at(Reg.RSP, -16));
  }

  /** A vector of F32 becomes codes without their signs, as I32. */
  private static void magnitude(Assembler code, Type type, int v) {
    int nan = 5;
    int exponent = 6;
    int away = 14;
    code.vector(Op.VPAND, BITS, v, v, MAGNITUDE);
    code.vector(Op.VPCMPGTD, BITS, nan, v, EXPONENT);
    code.vector(Op.VPMINSD, BITS, v, v, LARGEST);
    code.vector(Op.VPAND, BITS, exponent, v, EXPONENT);
    code.vector(Op.VPMAXSD, BITS, exponent, exponent, LEAST);
    code.vector(Op.VPADDD, BITS, away, exponent, AWAY);
    code.vector(Op.VADDPS, BITS, v, v, away);
    code.vector(Op.VPSUBD, BITS, v, v, away);
    code.vector(Op.VPSUBD, BITS, exponent, exponent, LEAST);
    code.shift(Op.VPSRLD, BITS, exponent, exponent, type.place());
    code.vector(Op.VPADDD, BITS, v, v, exponent);
    // The code of NaN, all ones, is 1 or 4 behind that of the largest number.
    if (type == Type.E5M2) {
      code.shift(Op.VPSLLD, BITS, nan, nan, 2);
    }
    code.vector(Op.VPSUBD, BITS, v, v, nan);
  }

  /** rdi blocks, rsi codes, rdx out. */
  private static byte[] decodeCode(Type type, boolean half, Store store) {
    int factor = 8;
    int mask = 9;
    int special = 10;
    int change = 11;
    Assembler code = new Assembler();
    code.broadcast(BITS, factor, Float.floatToRawIntBits(256));
    code.broadcast(BITS, mask, 0xbf80bf80);
    code.broadcast(BITS, special, 0x3f803f80);
    code.broadcast(BITS, change, 0x41804180);
    int block = code.here();
    store.ask(code, Reg.RSI, BYTES);
    for (int v = 0; v < 2; v++) {
      int low = 4 * v;
      int high = low + 1;
      int nan = low + 2;
      code.vector(Op.VPMOVSXBW, BITS, low, 0, Mem.at(Reg.RSI, v * BYTES / 2));
      if (type == Type.E5M2) {
        code.shift(Op.VPSLLW, BITS, low, low, 8);
      } else {
        code.shift(Op.VPSLLW, BITS, low, low, 7);
        code.vector(Op.VPAND, BITS, low, low, mask);
        code.vector(Op.VPAND, BITS, nan, low, special);
        code.vector(Op.VPCMPEQW, BITS, nan, nan, special);
        code.vector(Op.VPAND, BITS, nan, nan, change);
        code.vector(Op.VPXOR, BITS, low, low, nan);
      }
      code.extract(Op.VEXTRACTF128, BITS, high, low, 1);
      code.vector(Op.VCVTPH2PS, BITS, low, 0, low);
      code.vector(Op.VCVTPH2PS, BITS, high, 0, high);
      if (type == Type.E4M3) {
        code.vector(Op.VMULPS, BITS, low, low, factor);
        code.vector(Op.VMULPS, BITS, high, high, factor);
      }
      if (half) {
        code.shift(Op.VPSRLD, BITS, low, low, 16);
        code.shift(Op.VPSRLD, BITS, high, high, 16);
        code.permute(Op.VPERM2F128, BITS, nan, low, high, 0x31);
        code.permute(Op.VPERM2F128, BITS, low, low, high, 0x20);
        code.vector(Op.VPACKUSDW, BITS, low, low, nan);
        store.emit(code, BITS, low, Reg.RDX, v * BYTES);
      } else {
        store.emit(code, BITS, low, Reg.RDX, 2 * v * BYTES);
        store.emit(code, BITS, high, Reg.RDX, (2 * v + 1) * BYTES);
      }
    }
    code.add(Reg.RSI, BYTES);
    code.add(Reg.RDX, half ? 2 * BYTES : 4 * BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    store.end(code);
    return code.bytes();
  }
}
