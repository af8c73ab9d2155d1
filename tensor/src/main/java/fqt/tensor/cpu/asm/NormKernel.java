package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * The two passes of a normalization over a row: sums of its numbers and of their squares in F64,
 * and the normalized numbers. While one pass runs, what the next will touch is fetched into the
 * cache.
 */
public final class NormKernel {
  /** Numbers that are worked on together. */
  public static final int BLOCK = 8;

  /** Bytes of the state of {@link #sums}. */
  public static final int STATE_BYTES = 5 * 32;

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;

  private final MachineFunction sums;
  private final MachineFunction squares;
  private final MachineFunction scale;
  private final MachineFunction scaleFar;
  private final MachineFunction normalize;
  private final MachineFunction normalizeFar;

  /**
   * Assembles the kernels.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public NormKernel() throws ExecutableMemory.Refused {
    sums = new MachineFunction(4, sumsCode());
    squares = new MachineFunction(4, squaresCode());
    scale = new MachineFunction(6, normalizeCode(false, Store.NEAR));
    scaleFar = new MachineFunction(6, normalizeCode(false, Store.FAR));
    normalize = new MachineFunction(6, normalizeCode(true, Store.NEAR));
    normalizeFar = new MachineFunction(6, normalizeCode(true, Store.FAR));
  }

  /**
   * Adds up {@code x − shift} and its squares, or the squares of x alone.
   *
   * @param shifted whether the shift is taken off and the sums are wanted, not the squares alone
   * @param blocks at least 1
   * @param state vectors of F64: the shift in all lanes, two of sums, two of sums of squares, all
   *     of which the results are added to
   * @param next a row that will be wanted next
   */
  public void sums(
      boolean shifted, long blocks, MemorySegment x, MemorySegment state, MemorySegment next) {
    (shifted ? sums : squares).call(blocks, address(x), address(state), address(next));
    keep(x, state, next);
  }

  /**
   * {@code out = (x − mean) * factor * weight + bias}, or, with a bias that is null, {@code x *
   * factor * weight}.
   *
   * @param blocks at least 1
   * @param parameters two F32: mean and factor
   * @param store FAR only if out begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void normalize(
      long blocks,
      MemorySegment x,
      MemorySegment parameters,
      MemorySegment weight,
      MemorySegment bias,
      MemorySegment out,
      Store store) {
    boolean far = store == Store.FAR;
    if (bias == null) {
      MachineFunction function = far ? scaleFar : scale;
      function.call(blocks, address(x), address(parameters), address(weight), 0, address(out));
    } else {
      MachineFunction function = far ? normalizeFar : normalize;
      function.call(
          blocks, address(x), address(parameters), address(weight), address(bias), address(out));
    }
    keep(x, parameters, weight);
    keep(bias, out);
  }

  /** rdi blocks, rsi x, rdx state, rcx next. */
  private static byte[] sumsCode() {
    int shift = 4;
    Assembler code = new Assembler();
    for (int i = 0; i < STATE_BYTES / BYTES; i++) {
      code.vector(Op.VMOVUPS, BITS, shift + i, Reg.RDX, i * BYTES);
    }
    int block = code.here();
    code.prefetch(Mem.at(Reg.RCX, 0));
    for (int half = 0; half < 2; half++) {
      code.vector(Op.VCVTPS2PD, BITS, half, Reg.RSI, half * BYTES / 2);
      code.vector(Op.VSUBPD, BITS, half, half, shift);
      code.vector(Op.VADDPD, BITS, shift + 1 + half, shift + 1 + half, half);
      code.vector(Op.VMULPD, BITS, half, half, half);
      code.vector(Op.VADDPD, BITS, shift + 3 + half, shift + 3 + half, half);
    }
    code.add(Reg.RSI, BYTES);
    code.add(Reg.RCX, BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    for (int i = 1; i < STATE_BYTES / BYTES; i++) {
      code.vector(Op.VMOVUPS_STORE, BITS, shift + i, Reg.RDX, i * BYTES);
    }
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  /** rdi blocks, rsi x, rdx state, rcx next. */
  private static byte[] squaresCode() {
    int sums = 4;
    int at = 3 * BYTES;
    Assembler code = new Assembler();
    code.vector(Op.VMOVUPS, BITS, sums, Reg.RDX, at);
    code.vector(Op.VMOVUPS, BITS, sums + 1, Reg.RDX, at + BYTES);
    int block = code.here();
    code.prefetch(Mem.at(Reg.RCX, 0));
    for (int half = 0; half < 2; half++) {
      code.vector(Op.VCVTPS2PD, BITS, half, Reg.RSI, half * BYTES / 2);
      code.vector(Op.VMULPD, BITS, half, half, half);
      code.vector(Op.VADDPD, BITS, sums + half, sums + half, half);
    }
    code.add(Reg.RSI, BYTES);
    code.add(Reg.RCX, BYTES);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    code.vector(Op.VMOVUPS_STORE, BITS, sums, Reg.RDX, at);
    code.vector(Op.VMOVUPS_STORE, BITS, sums + 1, Reg.RDX, at + BYTES);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  /** rdi blocks, rsi x, rdx parameters, rcx weight, r8 bias, r9 out; the next row follows x. */
  private static byte[] normalizeCode(boolean hasBias, Store store) {
    int mean = 1;
    int factor = 2;
    Assembler code = new Assembler();
    code.vector(Op.VBROADCASTSS, BITS, mean, Reg.RDX, 0);
    code.vector(Op.VBROADCASTSS, BITS, factor, Reg.RDX, Float.BYTES);
    code.move(Reg.R10, Reg.RDI);
    code.shiftLeft(Reg.R10, 5);
    int block = code.here();
    code.prefetch(Mem.at(Reg.RSI, Reg.R10, 1, 0));
    code.vector(Op.VMOVUPS, BITS, 0, Reg.RSI, 0);
    if (hasBias) {
      code.vector(Op.VSUBPS, BITS, 0, 0, mean);
    }
    code.vector(Op.VMULPS, BITS, 0, 0, factor);
    if (hasBias) {
      code.vector(Op.VMOVUPS, BITS, 3, Reg.RCX, 0);
      code.vector(Op.VFMADD213PS, BITS, 0, 3, Mem.at(Reg.R8, 0));
      code.add(Reg.R8, BYTES);
    } else {
      code.vector(Op.VMULPS, BITS, 0, 0, Reg.RCX, 0);
    }
    store.emit(code, BITS, 0, Reg.R9, 0);
    for (Reg next : new Reg[] {Reg.RSI, Reg.RCX, Reg.R9}) {
      code.add(next, BYTES);
    }
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    store.end(code);
    return code.bytes();
  }
}
