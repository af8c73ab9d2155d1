package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * Dot products of one row of x with many rows of 4-bit codes, {@code Σ scale * (code - zero) * x}
 * with a scale and a zero point for each group of a row. Codes stay integers until the end of their
 * group: x is given as whole numbers of two or three signed bytes, {@code 2^8 high + low} or {@code
 * 2^16 high + 2^8 middle + low}, and each byte is multiplied by the codes in the processor's byte
 * products, exactly.
 *
 * <pre>
 *   codes of 8 terms   k7 k6 | k5 k4 | k3 k2 | k1 k0      one i32 lane of a vector of the weight
 *   and 0x0f              k6 |    k4 |    k2 |    k0      times the bytes of x of even terms
 *   shift right 4, and    k7 |    k5 |    k3 |    k1      times those of odd terms
 * </pre>
 *
 * For every group the table of x holds, vector by vector of codes: the bytes from the highest to
 * the lowest, each for the even and then the odd terms; after these a vector of what zero points
 * multiply: where all are 8, −8 times the sum of the numbers that meet in each lane as i32,
 * otherwise the sum itself as f32.
 */
public final class NibbleKernel {
  /** How far ahead in each stream codes are asked for, in bytes. */
  private static final int AHEAD = 1024;

  /** The same where vectors have 512 bits. */
  private static final int WIDE_AHEAD = 512;

  // The first four registers are sums of four rows. Behind them come the sums of digits of two rows
  // by turns: one is scaled while the other is multiplied.
  private static final int[] DIGIT = {4, 7};
  private static final int EVEN = 10;
  private static final int ODD = 11;
  private static final int PRODUCT = 12;
  private static final int MASK = 13;
  private static final int ONES = 14;
  private static final int RADIX = 15;

  private final int bits;
  private final int vectors;
  private final int digits;
  private final boolean dots;
  private final boolean zeros;
  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param bits width of the vectors: 128, 256 or 512
   * @param group terms that share a scale: 32, 64 or 128, a multiple of {@code bits / 4}; no more
   *     than {@code bits / 2}, or their sums would not fit into 32 bits
   * @param digits bytes that a whole number of x is made of, 2 or 3
   * @param dots whether the processor has vpdpbusd (AVX512-VNNI); then a group is one vector
   * @param zeros whether there are zero points; if not they are all 8
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public NibbleKernel(int bits, int group, int digits, boolean dots, boolean zeros)
      throws ExecutableMemory.Refused {
    this.bits = bits;
    this.vectors = group * 4 / bits;
    this.digits = digits;
    this.dots = dots;
    this.zeros = zeros;
    this.function = new MachineFunction(9, code());
  }

  /** Bytes of a vector of codes. */
  public int vectorBytes() {
    return bits / Byte.SIZE;
  }

  /** Vectors of codes in a group. */
  public int vectors() {
    return vectors;
  }

  /** Bytes that a whole number of x is made of. */
  public int digits() {
    return digits;
  }

  /** Whether zero points are given. */
  public boolean zeros() {
    return zeros;
  }

  /** Bytes of the table of x for one group. */
  public int tableBytes() {
    return (2 * digits * vectors + 1) * vectorBytes();
  }

  /**
   * Computes {@code 4 * rowGroups} sums, of four streams of rows that follow each other without
   * gaps.
   *
   * @param groups groups of a row
   * @param rowGroups rows of each stream
   * @param x the table of x
   * @param w the first row of codes, {@code wStride} bytes from the first of the next stream
   * @param sums F32, by turns of each stream
   * @param scales F32, for each row and group its scale times the unit of the whole numbers
   * @param zeroPoints F32, one for each scale; anything if there are none
   * @param scaleStride bytes from the scales of a stream to those of the next
   */
  public void multiply(
      long groups,
      long rowGroups,
      MemorySegment x,
      MemorySegment w,
      long wStride,
      MemorySegment sums,
      MemorySegment scales,
      MemorySegment zeroPoints,
      long scaleStride) {
    function.call(
        groups,
        rowGroups,
        address(x),
        address(w),
        wStride,
        address(sums),
        address(scales),
        address(zeroPoints),
        scaleStride);
    keep(x, w, sums);
    keep(scales, zeroPoints);
  }

  private static final int ARGUMENTS = Assembler.STACK_ARGUMENTS;

  /**
   * rdi groups, rsi groups of rows, rdx x, rcx w, r8 stride of w, r9 sums; the rest on the stack.
   */
  private byte[] code() {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.R14, Reg.RSP, ARGUMENTS);
    code.load(Reg.R15, Reg.RSP, ARGUMENTS + 8);
    code.load(Reg.RBX, Reg.RSP, ARGUMENTS + 16);
    code.triple(Reg.R10, Reg.R8);
    code.triple(Reg.RBP, Reg.RBX);
    code.broadcast(bits, MASK, 0x0f0f0f0f);
    code.broadcast(bits, ONES, 0x00010001);
    code.broadcast(bits, RADIX, 0x01000100);
    int rows = code.here();
    for (int sum = 0; sum < 4; sum++) {
      code.vector(Op.VXORPS, 256, sum, sum, sum);
    }
    code.move(Reg.R12, Reg.RDX);
    code.move(Reg.RAX, Reg.RDI);
    int ahead = bits == 512 ? WIDE_AHEAD : AHEAD;
    int group = code.here();
    for (int row = 0; row < 4; row++) {
      code.prefetch(Mem.inRow(Reg.RCX, Reg.R8, Reg.R10, row, ahead));
      sums(code, row, DIGIT[row % 2]);
      if (row > 0) {
        scale(code, row - 1, DIGIT[(row - 1) % 2]);
      }
    }
    scale(code, 3, DIGIT[1]);
    code.add(Reg.R12, tableBytes());
    code.add(Reg.RCX, vectors * vectorBytes());
    code.add(Reg.R14, Float.BYTES);
    code.add(Reg.R15, Float.BYTES);
    code.decrement(Reg.RAX);
    code.jumpNotZero(group);
    LaneSums.addUp(code, bits, false, 0);
    code.vector(Op.VMOVUPS_STORE, 128, 0, Reg.R9, 0);
    code.add(Reg.R9, 4 * Float.BYTES);
    code.decrement(Reg.RSI);
    code.jumpNotZero(rows);
    code.vzeroupper();
    code.restoreAllAndReturn();
    return code.bytes();
  }

  /** The sums of one group with each of the bytes of x; where there are dots, all in the first. */
  private void sums(Assembler code, int row, int sums) {
    if (dots) {
      dots(code, row, sums);
      return;
    }
    for (int vector = 0; vector < vectors; vector++) {
      unpack(code, row, vector);
      for (int digit = 0; digit < digits; digit++) {
        add(code, sums + digit, EVEN, table(vector, digit), vector == 0);
        add(code, sums + digit, ODD, table(vector, digit) + vectorBytes(), false);
      }
    }
  }

  /** Digit after digit into the same sums, which are shifted in between. */
  private void dots(Assembler code, int row, int sum) {
    code.vector(Op.VXORPS, 256, sum, sum, sum);
    unpack(code, row, 0);
    for (int digit = 0; digit < digits; digit++) {
      if (digit > 0) {
        code.shift(Op.VPSLLD, bits, sum, sum, 8);
      }
      code.vector(Op.VPDPBUSD, bits, sum, EVEN, Reg.R12, table(0, digit));
      code.vector(Op.VPDPBUSD, bits, sum, ODD, Reg.R12, table(0, digit) + vectorBytes());
    }
  }

  private void unpack(Assembler code, int row, int vector) {
    code.vector(Op.VMOVUPS, bits, ODD, 0, Mem.inRow(Reg.RCX, Reg.R8, Reg.R10, row, at(vector)));
    code.vector(Op.VPAND, bits, EVEN, ODD, MASK);
    code.shift(Op.VPSRLW, bits, ODD, ODD, 4);
    code.vector(Op.VPAND, bits, ODD, ODD, MASK);
  }

  private void add(Assembler code, int sum, int codes, int x, boolean first) {
    if (first) {
      code.vector(Op.VPMADDUBSW, bits, sum, codes, Reg.R12, x);
    } else {
      // Eight of these at most meet in a lane: 8 * 2 * 15 * 128 fits into i16.
      code.vector(Op.VPMADDUBSW, bits, PRODUCT, codes, Reg.R12, x);
      code.vector(Op.VPADDW, bits, sum, sum, PRODUCT);
    }
  }

  /** {@code sum += scale * (whole number - zero * sum of x)}. */
  private void scale(Assembler code, int row, int whole) {
    if (!dots) {
      join(code, whole);
    }
    int ends = at(2 * digits * vectors);
    if (!zeros) {
      code.vector(Op.VPADDD, bits, whole, whole, Reg.R12, ends);
    }
    code.vector(Op.VCVTDQ2PS, bits, whole, 0, whole);
    if (zeros) {
      code.vector(Op.VBROADCASTSS, bits, PRODUCT, 0, scalar(Reg.R15, row));
      code.vector(Op.VFNMADD231PS, bits, whole, PRODUCT, Reg.R12, ends);
    }
    code.vector(Op.VBROADCASTSS, bits, PRODUCT, 0, scalar(Reg.R14, row));
    code.vector(Op.VFMADD231PS, bits, row, whole, PRODUCT);
  }

  /** Whole numbers of 32 bits from the sums of their bytes, two of 16 bits in each lane. */
  private void join(Assembler code, int high) {
    code.vector(Op.VPMADDWD, bits, high, high, RADIX);
    for (int digit = 1; digit < digits; digit++) {
      code.vector(Op.VPMADDWD, bits, high + digit, high + digit, ONES);
    }
    code.vector(Op.VPADDD, bits, high, high, high + 1);
    if (digits == 3) {
      code.shift(Op.VPSLLD, bits, high, high, 8);
      code.vector(Op.VPADDD, bits, high, high, high + 2);
    }
  }

  private static Mem scalar(Reg base, int row) {
    return Mem.inRow(base, Reg.RBX, Reg.RBP, row, 0);
  }

  /** Where the bytes of x for the even terms of a vector of codes are; the odd ones follow. */
  private int table(int vector, int digit) {
    return at(2 * (digits * vector + digit));
  }

  private int at(int vector) {
    return vector * vectorBytes();
  }
}
