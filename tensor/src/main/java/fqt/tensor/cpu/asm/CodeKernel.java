package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * F32 to whole codes of a byte and back, for neighbouring groups that have a scale and a zero point
 * each, 32 numbers at a time. Four vectors become one: packing works within 128 bits, so that
 * groups of four codes are put in order at the end.
 */
public final class CodeKernel {
  /** Numbers that are worked on together. */
  public static final int BLOCK = 32;

  /** Bytes of the parameters of {@link #quantize}. */
  public static final int PARAMETER_BYTES = 96;

  /** Where the flags stand among them: eight F32. */
  private static final int FLAGS = 32;

  /** Where the order stands in which groups of four codes are written: eight I32. */
  private static final int ORDER = 64;

  /** How far ahead numbers are asked for, in bytes: dividing leaves memory time. */
  public static final int AHEAD = 12 << 10;

  private static final int BITS = 256;
  private static final int BYTES = BITS / 8;

  /** 1.5 · 2^23: added to a number, it leaves the nearest whole one in the lowest bits. */
  private static final int ROUND = Float.floatToRawIntBits(0x1.8p23f);

  private static final int SCALE = 4;
  private static final int ZERO = 5;

  private final MachineFunction quantize;
  private final MachineFunction dequantize;

  /**
   * Assembles the kernels.
   *
   * @param signed whether codes are I8, not U8
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public CodeKernel(boolean signed) throws ExecutableMemory.Refused {
    quantize = new MachineFunction(10, quantizeCode(signed));
    dequantize = new MachineFunction(7, dequantizeCode(signed));
  }

  /** Writes the bounds of codes, whole numbers, and what else {@link #quantize} wants to know. */
  public static void prepare(MemorySegment parameters, int low, int high) {
    parameters.set(ValueLayout.JAVA_INT, 0, ROUND + low);
    parameters.set(ValueLayout.JAVA_INT, Integer.BYTES, ROUND + high);
    for (int i = 0; i < 8; i++) {
      int place = i % 2 * 4 + i / 2;
      parameters.set(ValueLayout.JAVA_INT, ORDER + (long) i * Integer.BYTES, place);
    }
  }

  /**
   * {@code clamp(rint(x / scale) + zero, low, high)}, where no quotient is NaN.
   *
   * @param groups at least 1
   * @param blocks of a group, at least 1
   * @param scales F32, one for each group
   * @param zeros F32, whole numbers, {@code step} bytes apart: 4, or 0 for the same one always
   * @param next address of what will be wanted next; nothing is read there
   * @param lines how many bytes of it are asked for with each 64 bytes of x: 64, or 32
   * @return whether no quotient was NaN or infinite; if not, codes of NaN are wrong
   */
  public boolean quantize(
      long groups,
      long blocks,
      MemorySegment x,
      MemorySegment codes,
      MemorySegment scales,
      MemorySegment zeros,
      long step,
      MemorySegment parameters,
      long next,
      long lines) {
    quantize.call(
        groups,
        blocks,
        address(x),
        address(codes),
        address(scales),
        address(zeros),
        step,
        address(parameters),
        next,
        lines);
    keep(x, codes, scales);
    keep(zeros, parameters);
    float flags = 0;
    for (int i = 0; i < BYTES; i += Float.BYTES) {
      flags += parameters.get(ValueLayout.JAVA_FLOAT, FLAGS + i);
    }
    return flags == 0;
  }

  /** {@code (code − zero) * scale}, with the arguments of {@link #quantize}. */
  public void dequantize(
      long groups,
      long blocks,
      MemorySegment codes,
      MemorySegment out,
      MemorySegment scales,
      MemorySegment zeros,
      long step) {
    dequantize.call(
        groups, blocks, address(codes), address(out), address(scales), address(zeros), step);
    keep(codes, out);
    keep(scales, zeros);
  }

  /**
   * rdi groups, rsi blocks, rdx x, rcx codes, r8 scales, r9 zeros; on the stack their step, the
   * parameters, what is next and half a step through it. Flags are sums of quotients times zero.
   */
  private static byte[] quantizeCode(boolean signed) {
    int least = 6;
    int most = 7;
    int whole = 8;
    int round = 9;
    int nothing = 10;
    int flags = 11;
    int order = 12;
    Assembler code = new Assembler();
    code.load(Reg.R10, Reg.RSP, Long.BYTES);
    code.load(Reg.R11, Reg.RSP, 2 * Long.BYTES);
    code.push(Reg.RBX);
    code.push(Reg.RBP);
    code.load(Reg.RBX, Reg.RSP, 5 * Long.BYTES);
    code.load(Reg.RBP, Reg.RSP, 6 * Long.BYTES);
    code.broadcast(BITS, round, ROUND);
    code.vector(Op.VXORPS, BITS, nothing, nothing, nothing);
    code.vector(Op.VXORPS, BITS, flags, flags, flags);
    code.vector(Op.VMOVUPS, BITS, order, Reg.R11, ORDER);
    int group = code.here();
    beginGroup(code);
    code.vector(Op.VCVTTPS2DQ, BITS, whole, 0, ZERO);
    code.vector(Op.VBROADCASTSS, BITS, least, Reg.R11, 0);
    code.vector(Op.VPSUBD, BITS, least, least, whole);
    code.vector(Op.VBROADCASTSS, BITS, most, Reg.R11, Float.BYTES);
    code.vector(Op.VPSUBD, BITS, most, most, whole);
    code.vector(Op.VPSUBD, BITS, whole, whole, round);
    int block = code.here();
    code.prefetch(Mem.at(Reg.RBX, 0));
    code.prefetch(Mem.at(Reg.RBX, Reg.RBP, 1, 0));
    code.add(Reg.RBX, Reg.RBP);
    code.add(Reg.RBX, Reg.RBP);
    for (int v = 0; v < 4; v++) {
      code.vector(Op.VMOVUPS, BITS, v, Reg.RDX, v * BYTES);
      code.vector(Op.VDIVPS, BITS, v, v, SCALE);
      code.vector(Op.VFMADD231PS, BITS, flags, v, nothing);
      code.vector(Op.VADDPS, BITS, v, v, round);
      code.vector(Op.VPMAXSD, BITS, v, v, least);
      code.vector(Op.VPMINSD, BITS, v, v, most);
      code.vector(Op.VPADDD, BITS, v, v, whole);
    }
    code.vector(Op.VPACKSSDW, BITS, 0, 0, 1);
    code.vector(Op.VPACKSSDW, BITS, 2, 2, 3);
    code.vector(signed ? Op.VPACKSSWB : Op.VPACKUSWB, BITS, 0, 0, 2);
    code.vector(Op.VPERMD, BITS, 0, order, 0);
    code.vector(Op.VMOVUPS_STORE, BITS, 0, Reg.RCX, 0);
    code.add(Reg.RDX, 4 * BYTES);
    code.add(Reg.RCX, BYTES);
    endGroup(code, group, block);
    code.vector(Op.VMOVUPS_STORE, BITS, flags, Reg.R11, FLAGS);
    code.vzeroupper();
    code.pop(Reg.RBP);
    code.pop(Reg.RBX);
    code.ret();
    return code.bytes();
  }

  /** The registers of {@link #quantizeCode}: rdx codes, rcx out. */
  private static byte[] dequantizeCode(boolean signed) {
    Op widen = signed ? Op.VPMOVSXBD : Op.VPMOVZXBD;
    Assembler code = new Assembler();
    code.load(Reg.R10, Reg.RSP, Long.BYTES);
    int group = code.here();
    beginGroup(code);
    int block = code.here();
    for (int v = 0; v < 4; v++) {
      code.vector(widen, BITS, v, Reg.RDX, v * BYTES / 4);
      code.vector(Op.VCVTDQ2PS, BITS, v, 0, v);
      code.vector(Op.VSUBPS, BITS, v, v, ZERO);
      code.vector(Op.VMULPS, BITS, v, v, SCALE);
      code.vector(Op.VMOVUPS_STORE, BITS, v, Reg.RCX, v * BYTES);
    }
    code.add(Reg.RDX, BYTES);
    code.add(Reg.RCX, 4 * BYTES);
    endGroup(code, group, block);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  private static void beginGroup(Assembler code) {
    code.vector(Op.VBROADCASTSS, BITS, SCALE, Reg.R8, 0);
    code.vector(Op.VBROADCASTSS, BITS, ZERO, Reg.R9, 0);
    code.move(Reg.RAX, Reg.RSI);
  }

  private static void endGroup(Assembler code, int group, int block) {
    code.decrement(Reg.RAX);
    code.jumpNotZero(block);
    code.add(Reg.R8, Float.BYTES);
    code.add(Reg.R9, Reg.R10);
    code.decrement(Reg.RDI);
    code.jumpNotZero(group);
  }
}
