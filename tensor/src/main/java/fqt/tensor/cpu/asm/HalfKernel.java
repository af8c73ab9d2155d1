package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/** F32 to a type of 16 bits and back, 32 numbers at a time. */
public final class HalfKernel {
  /** Numbers that are worked on together. */
  public static final int BLOCK = 32;

  /** The types of 16 bits. */
  public enum Type {
    /** The upper half of an F32. */
    BF16,
    /** Five bits of exponent, ten of fraction. */
    F16
  }

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;

  private static final int ONE = 8;
  private static final int LOWEST = 9;
  private static final int HALF = 10;
  private static final int ORDERED = 11;

  /** The order in which groups of four numbers are written, as bytes. */
  private static final int[] ORDER = {0x05040100, 0x07060302};

  private final MachineFunction widen;
  private final MachineFunction widenFar;
  private final MachineFunction narrow;
  private final MachineFunction narrowFar;

  /**
   * Assembles the kernels of one type.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public HalfKernel(Type type) throws ExecutableMemory.Refused {
    widen = new MachineFunction(3, widenCode(type, Store.NEAR));
    widenFar = new MachineFunction(3, widenCode(type, Store.FAR));
    narrow = new MachineFunction(3, narrowCode(type, Store.NEAR));
    narrowFar = new MachineFunction(3, narrowCode(type, Store.FAR));
  }

  /**
   * To F32.
   *
   * @param blocks at least 1
   * @param store FAR only if the result begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void widen(long blocks, MemorySegment from, MemorySegment to, Store store) {
    run(store == Store.FAR ? widenFar : widen, blocks, from, to);
  }

  /**
   * From F32 to the nearest numbers, ties to even; NaN stays NaN, and becomes a quiet one.
   *
   * @param blocks at least 1
   * @param store FAR only if the result begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void narrow(long blocks, MemorySegment from, MemorySegment to, Store store) {
    run(store == Store.FAR ? narrowFar : narrow, blocks, from, to);
  }

  private static void run(
      MachineFunction function, long blocks, MemorySegment from, MemorySegment to) {
    function.call(blocks, address(from), address(to));
    keep(from, to);
  }

  /** rdi blocks, rsi numbers of 16 bits, rdx F32. */
  private static byte[] widenCode(Type type, Store store) {
    Assembler code = new Assembler();
    int block = code.here();
    store.ask(code, Reg.RSI, 2 * BYTES);
    for (int v = 0; v < 4; v++) {
      if (type == Type.F16) {
        code.vector(Op.VCVTPH2PS, BITS, v, 0, Mem.at(Reg.RSI, v * BYTES / 2));
      } else {
        code.vector(Op.VPMOVZXWD, BITS, v, 0, Mem.at(Reg.RSI, v * BYTES / 2));
        code.shift(Op.VPSLLD, BITS, v, v, 16);
      }
      store.emit(code, BITS, v, Reg.RDX, v * BYTES);
    }
    code.add(Reg.RSI, 2 * BYTES);
    code.add(Reg.RDX, 4 * BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    store.end(code);
    return code.bytes();
  }

  /** rdi blocks, rsi F32, rdx numbers of 16 bits. */
  private static byte[] narrowCode(Type type, Store store) {
    Assembler code = new Assembler();
    if (type == Type.BF16) {
      constants(code);
    }
    int block = code.here();
    store.ask(code, Reg.RSI, 4 * BYTES);
    for (int pair = 0; pair < 2; pair++) {
      int low = 2 * pair;
      int high = low + 1;
      int at = 2 * pair * BYTES;
      if (type == Type.F16) {
        code.vector(Op.VMOVUPS, BITS, low, Reg.RSI, at);
        code.vector(Op.VMOVUPS, BITS, high, Reg.RSI, at + BYTES);
        code.extract(Op.VCVTPS2PH, BITS, low, low, 0);
        code.extract(Op.VCVTPS2PH, BITS, high, high, 0);
        code.permute(Op.VPERM2F128, BITS, low, low, high, 0x20);
      } else {
        bfloat(code, low, at);
        bfloat(code, high, at + BYTES);
        code.vector(Op.VPACKUSDW, BITS, low, low, high);
        code.vector(Op.VPERMD, BITS, low, ORDERED, low);
      }
      store.emit(code, BITS, low, Reg.RDX, pair * BYTES);
    }
    code.add(Reg.RSI, 4 * BYTES);
    code.add(Reg.RDX, 2 * BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    store.end(code);
    return code.bytes();
  }

  private static void constants(Assembler code) {
    code.broadcast(BITS, ONE, Float.floatToRawIntBits(1));
    code.broadcast(BITS, LOWEST, 1);
    code.broadcast(BITS, HALF, 0x7fff);
    for (int i = 0; i < ORDER.length; i++) {
      code.move(Reg.RAX, ORDER[i]);
      code.storeInt(Reg.RAX, Reg.RSP, -16 + i * Integer.BYTES);
    }
    code.vector(Op.VPMOVZXBD, BITS, ORDERED, 0, Mem.at(Reg.RSP, -16));
  }

  /**
   * The upper halves, rounded, as I32; a product with 1 makes a NaN quiet, which is not rounded.
   */
  private static void bfloat(Assembler code, int v, int at) {
    int odd = v + 4;
    int nan = 12;
    code.vector(Op.VMULPS, BITS, v, ONE, Reg.RSI, at);
    code.permute(Op.VCMPPS, BITS, nan, v, v, 3);
    code.shift(Op.VPSRLD, BITS, odd, v, 16);
    code.vector(Op.VPAND, BITS, odd, odd, LOWEST);
    code.vector(Op.VPADDD, BITS, odd, odd, HALF);
    code.vector(Op.VPANDN, BITS, odd, nan, odd);
    code.vector(Op.VPADDD, BITS, v, v, odd);
    code.shift(Op.VPSRLD, BITS, v, v, 16);
  }
}
