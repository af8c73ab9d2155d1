package fqt.tensor.cpu.asm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Dot products of a few rows of x with many rows of a weight, which is read once, four rows side by
 * side. The sums of {@code rows} x 4 products stay in registers:
 *
 * <pre>
 *           w0     w1     w2     w3        four streams from memory
 *   x0     sum00  sum01  sum02  sum03      one vector each, added up at the end of the rows
 *   x1     sum10  sum11  sum12  sum13
 * </pre>
 *
 * x lies in the first- or second-level cache, in the form that {@link Kind} asks for. Where a row
 * is no whole number of steps, its last step is the one that ends with the row: what it shares with
 * the step before is zero in x, and floats of the weight there are masked. Lanes are added up in
 * one fixed order. The four streams had better be long, far apart and without gaps: the processor
 * fetches ahead where it has seen a few lines in a row, and where it must begin anew every kilobyte
 * memory is read at half its speed.
 */
public final class DotKernel {
  /** Rows of the weight that are read side by side. */
  public static final int GROUP = 4;

  private static final int UNROLL = 4;
  private static final int LINE = 64;

  /** As many bytes of zeros as a vector has, then as many of ones: masks of any lower part. */
  private static final MemorySegment MASKS = masks();

  /** How far ahead in the same row it is worth asking for, in bytes. */
  private static final int NEAR = 512;

  /** What the weight holds, and what x has to be for it. */
  public enum Kind {
    /** f32, and x as it is. */
    F32(4, false),
    /** bf16, and of every two vectors of x first the even terms and then the odd ones, as f32. */
    BF16(2, false),
    /** f16, and x as it is, f32. */
    F16(2, false),
    /** s8, and x as i16; i32 sums. */
    PAIRS(1, true),
    /** s8, and x as it is; i32 sums, to which 128 times the sum of x was added (AVX512-VNNI). */
    QUADS(1, true),
    /** The same in the encoding of AVX-VNNI, for 256 bits. */
    VEX_QUADS(1, true);

    /** Bytes of one number of the weight. */
    public final int bytes;

    /** Whether the sums are i32. */
    public final boolean integer;

    Kind(int bytes, boolean integer) {
      this.bytes = bytes;
      this.integer = integer;
    }
  }

  /**
   * Where sums go, and what is made of them on the way: {@code (sum - excess) * (columns * rows) +
   * bias}. All are addresses of F32 numbers, or of I32 for {@code excess}; 0 is none.
   *
   * @param out the result of the first row of x and the first row of the weight
   * @param stride bytes from a row of results to the next
   * @param bias one number for each row of the weight
   * @param columns the same, for sums of integers; then there are {@code rows}
   * @param rows one number for each row of x
   * @param excess what the sums of each row of x have too much, of integers; or none
   */
  public record End(long out, long stride, long bias, long columns, long rows, long excess) {
    /** The same from another row of x and another row of the weight on. */
    public End at(int row, long column) {
      long across = column * Float.BYTES;
      long down = (long) row * Float.BYTES;
      return new End(
          out + row * stride + across,
          stride,
          bias == 0 ? 0 : bias + across,
          columns == 0 ? 0 : columns + across,
          rows == 0 ? 0 : rows + down,
          excess == 0 ? 0 : excess + down);
    }
  }

  private final Kind kind;
  private final int bits;
  private final int rows;
  private final int passes;
  private final boolean scaled;
  private final boolean biased;
  private final MachineFunction function;

  /**
   * Assembles the kernel.
   *
   * @param bits width of the vectors, 256 or 512
   * @param rows rows of x, 1 to {@link #mostRows}
   * @param passes how often the same rows of the weight are read, with other rows of x; each pass
   *     asks for its part of the rows that come after them
   * @param scaled whether sums of integers are multiplied by scales
   * @param biased whether something is added to sums
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public DotKernel(Kind kind, int bits, int rows, int passes, boolean scaled, boolean biased)
      throws ExecutableMemory.Refused {
    this.kind = kind;
    this.bits = bits;
    this.rows = rows;
    this.passes = passes;
    this.scaled = scaled;
    this.biased = biased;
    this.function = new MachineFunction(17, code());
  }

  private static MemorySegment masks() {
    MemorySegment masks = Arena.global().allocate(2 * LINE, LINE);
    masks.asSlice(LINE).fill((byte) -1);
    return masks;
  }

  /** Rows of x whose sums fit into the registers. */
  public static int mostRows(int bits) {
    return bits == 512 ? 4 : 3;
  }

  /** Terms of one step, and the fewest of a row. */
  public static int step(Kind kind, int bits) {
    return switch (kind) {
      case F32, F16 -> bits / Float.SIZE;
      case BF16, PAIRS -> bits / Short.SIZE;
      case QUADS, VEX_QUADS -> bits / Byte.SIZE;
    };
  }

  /**
   * Computes {@code rows * 4 * groups} results. The caller keeps the memory alive.
   *
   * @param depth terms of a row, at least a step
   * @param groups groups of four rows of the weight
   * @param x prepared rows, {@code xStride} bytes apart: whole steps, then one that ends with the
   *     row and begins with as many zeros as it needs, if there is a rest
   * @param w the first row of the weight
   * @param apart rows of the weight from one of a group to the next, 0 if all are the same. A
   *     single pass goes from a group to the next row, of several each to the next four rows
   * @param stride bytes from a row of the weight to the next
   * @param end has scales if the kernel takes them, and a bias if it does
   * @param pass which of the passes this is, from 0 on
   */
  public void multiply(
      long depth,
      long groups,
      long x,
      long xStride,
      long w,
      long apart,
      long stride,
      End end,
      int pass) {
    long next = passes == 1 ? stride : GROUP * stride;
    long size = groups * next;
    long ahead = passes == 1 ? NEAR : size + pass * size / passes;
    int step = step(kind, bits);
    long rest = depth % step;
    long shared = rest == 0 ? 0 : (step - rest) * kind.bytes;
    function.call(
        depth / step,
        groups,
        x,
        w,
        apart * stride,
        end.out,
        xStride,
        end.stride,
        ahead,
        next,
        apart * Float.BYTES,
        end.bias - end.out,
        end.columns - end.out,
        end.rows,
        end.excess,
        -shared,
        MASKS.address() + LINE - shared);
  }

  private static final int ARGUMENTS = Assembler.STACK_ARGUMENTS;
  private static final int APART = ARGUMENTS + 32;
  private static final int BIAS = ARGUMENTS + 40;
  private static final int COLUMN_SCALES = ARGUMENTS + 48;
  private static final int ROW_SCALES = ARGUMENTS + 56;
  private static final int EXCESS = ARGUMENTS + 64;
  private static final int LAST_STEP = ARGUMENTS + 72;
  private static final int MASK = ARGUMENTS + 80;

  /** rdi steps, rsi groups, rdx x, rcx w, r8 stride of w, r9 results; the rest on the stack. */
  private byte[] code() {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.RBX, Reg.RSP, ARGUMENTS);
    code.load(Reg.R11, Reg.RSP, ARGUMENTS + 8);
    code.load(Reg.R15, Reg.RSP, ARGUMENTS + 16);
    code.add(Reg.R15, Reg.RCX);
    code.triple(Reg.R10, Reg.R8);
    code.triple(Reg.RBP, Reg.RBX);
    constant(code);
    int group = code.here();
    for (int sum = 0; sum < GROUP * rows; sum++) {
      code.vector(Op.VXORPS, 256, sum, sum, sum);
    }
    code.move(Reg.R12, Reg.RDX);
    code.move(Reg.R13, Reg.RCX);
    if (passes == 1) {
      code.load(Reg.R15, Reg.RSP, ARGUMENTS + 16);
      code.add(Reg.R15, Reg.RCX);
    }
    code.load(Reg.RAX, Reg.RSP, ARGUMENTS + 24);
    code.add(Reg.RCX, Reg.RAX);
    terms(code);
    finish(code);
    code.add(Reg.R9, passes == 1 ? Float.BYTES : GROUP * Float.BYTES);
    code.decrement(Reg.RSI);
    code.jumpNotZero(group);
    code.vzeroupper();
    code.restoreAllAndReturn();
    return code.bytes();
  }

  /** The four results of each row of x, to where the rows of the weight belong. */
  private void finish(Assembler code) {
    code.load(Reg.R12, Reg.RSP, APART);
    code.triple(Reg.R13, Reg.R12);
    code.move(Reg.RAX, Reg.R9);
    for (int row = 0; row < rows; row++) {
      int sums = GROUP * row;
      int value = sums + 1;
      LaneSums.addUp(code, bits, kind.integer, sums);
      if (scaled) {
        scale(code, row);
      }
      if (biased) {
        gather(code, BIAS, value);
        code.vector(Op.VADDPS, 128, sums, sums, value);
      }
      code.vector(Op.VMOVSS_STORE, 128, sums, 0, result(0));
      for (int n = 1; n < GROUP; n++) {
        code.permute(Op.VPERMILPS, 128, value, 0, sums, n);
        code.vector(Op.VMOVSS_STORE, 128, value, 0, result(n));
      }
      code.add(Reg.RAX, Reg.R11);
    }
  }

  private void scale(Assembler code, int row) {
    int sums = GROUP * row;
    int scales = sums + 1;
    int ofRow = sums + 2;
    if (kind != Kind.PAIRS) {
      code.load(Reg.R14, Reg.RSP, EXCESS);
      code.vector(Op.VBROADCASTSS, 128, ofRow, 0, Mem.at(Reg.R14, row * Integer.BYTES));
      code.vector(Op.VPSUBD, 128, sums, sums, ofRow);
    }
    gather(code, COLUMN_SCALES, scales);
    code.load(Reg.R14, Reg.RSP, ROW_SCALES);
    code.vector(Op.VBROADCASTSS, 128, ofRow, 0, Mem.at(Reg.R14, row * Float.BYTES));
    code.vector(Op.VMULPS, 128, scales, scales, ofRow);
    code.vector(Op.VCVTDQ2PS, 128, sums, 0, sums);
    code.vector(Op.VMULPS, 128, sums, sums, scales);
  }

  /** The four numbers of a group, as far from the results as an argument says; uses two more. */
  private static void gather(Assembler code, int argument, int to) {
    code.load(Reg.R14, Reg.RSP, argument);
    code.add(Reg.R14, Reg.R9);
    for (int n = 0; n < GROUP; n++) {
      int register = n == 0 ? to : n == 3 ? to + 2 : to + 1;
      code.vector(Op.VBROADCASTSS, 128, register, 0, Mem.inRow(Reg.R14, Reg.R12, Reg.R13, n, 0));
      if (n % 2 == 1) {
        code.vector(Op.VUNPCKLPS, 128, register - 1, register - 1, register);
      }
    }
    code.vector(Op.VUNPCKLPD, 128, to, to, to + 1);
  }

  private static Mem result(int n) {
    return Mem.inRow(Reg.RAX, Reg.R12, Reg.R13, n, 0);
  }

  /** Registers behind the sums. */
  private int free(int index) {
    return GROUP * rows + index;
  }

  /** What splits bf16 pairs, or turns s8 into u8. */
  private void constant(Assembler code) {
    switch (kind) {
      case BF16 -> code.broadcast(bits, free(2), 0xffff0000);
      case QUADS, VEX_QUADS -> code.broadcast(bits, free(2), 0x80808080);
      case F32, F16, PAIRS -> {}
    }
  }

  private void terms(Assembler code) {
    code.move(Reg.RAX, Reg.RDI);
    code.move(Reg.R14, Reg.RDI);
    code.and(Reg.R14, UNROLL - 1);
    code.shiftRight(Reg.RAX, 2);
    int noneWhole = code.jumpZero();
    int whole = code.here();
    steps(code, UNROLL);
    code.decrement(Reg.RAX);
    code.jumpNotZero(whole);
    code.land(noneWhole);
    code.test(Reg.R14);
    int noneLeft = code.jumpZero();
    int left = code.here();
    steps(code, 1);
    code.decrement(Reg.R14);
    code.jumpNotZero(left);
    code.land(noneLeft);
    code.load(Reg.RAX, Reg.RSP, LAST_STEP);
    code.test(Reg.RAX);
    int noRest = code.jumpZero();
    code.add(Reg.R13, Reg.RAX);
    code.load(Reg.RAX, Reg.RSP, MASK);
    step(code, 0, 0, true);
    code.land(noRest);
  }

  private void steps(Assembler code, int count) {
    int vector = bits / Byte.SIZE;
    int ofW = step(kind, bits) * kind.bytes;
    int ofX = kind == Kind.BF16 ? 2 * vector : vector;
    for (int k = 0; k < count; k++) {
      fetch(code, count, k * ofW);
      step(code, k * ofX, k * ofW, false);
    }
    code.add(Reg.R12, count * ofX);
    code.add(Reg.R13, count * ofW);
    if (passes == 1) {
      code.add(Reg.R15, count * ofW);
    }
  }

  /**
   * Asks for what is wanted soon. In a single pass those are the next lines of each stream; f32 is
   * left to the processor, which finds them by itself. Of several passes each asks for some of what
   * follows, in the order of memory.
   */
  private void fetch(Assembler code, int count, int at) {
    if (passes == 1) {
      for (int n = 0; at % LINE == 0 && kind != Kind.F32 && n < GROUP; n++) {
        code.prefetch(Mem.inRow(Reg.R15, Reg.R8, Reg.R10, n, at));
      }
    } else if (at == 0 && count == UNROLL) {
      int bytes = GROUP * UNROLL * step(kind, bits) * kind.bytes;
      int lines = Math.ceilDiv(bytes, LINE * passes);
      for (int line = 0; line < lines; line++) {
        code.prefetchSecond(Mem.at(Reg.R15, line * LINE));
      }
      code.add(Reg.R15, lines * LINE);
    }
  }

  private void step(Assembler code, int xAt, int wAt, boolean last) {
    boolean held = kind == Kind.F32;
    for (int row = 0; held && row < rows; row++) {
      code.vector(Op.VMOVUPS, bits, free(row), 0, x(row, xAt));
    }
    for (int n = 0; n < GROUP; n++) {
      Mem w = w(n, wAt);
      int value = held ? free(rows) : free(0);
      if (last && !kind.integer) {
        masked(code, value, w);
      } else {
        load(code, value, w);
      }
      for (int half = 0; half < (kind == Kind.BF16 ? 2 : 1); half++) {
        if (kind == Kind.BF16) {
          split(code, value, half);
        }
        for (int row = 0; row < rows; row++) {
          Mem direct = last ? null : w;
          accumulate(code, row, n, value, xAt + half * bits / Byte.SIZE, direct);
        }
      }
    }
  }

  private void load(Assembler code, int value, Mem w) {
    switch (kind) {
      case F32 -> {
        if (rows > 1) {
          code.vector(Op.VMOVUPS, bits, value, 0, w);
        }
      }
      case BF16 -> code.vector(Op.VMOVUPS, bits, value, 0, w);
      case F16 -> code.vector(Op.VCVTPH2PS, bits, value, 0, w);
      case PAIRS -> code.vector(Op.VPMOVSXBW, bits, value, 0, w);
      case QUADS, VEX_QUADS -> code.vector(Op.VPXOR, bits, value, free(2), w);
    }
  }

  /** Floats of the last step, without those that the step before had: they may be infinite. */
  private void masked(Assembler code, int value, Mem w) {
    int width = kind == Kind.F16 ? bits / 2 : bits;
    code.vector(Op.VMOVUPS, width, value, 0, w);
    code.vector(Op.VPAND, width, value, value, Mem.at(Reg.RAX, 0));
    if (kind == Kind.F16) {
      code.vector(Op.VCVTPH2PS, bits, value, 0, value);
    }
  }

  /** The even or the odd ones of pairs of bf16 as f32. */
  private void split(Assembler code, int pairs, int half) {
    if (half == 0) {
      code.shift(Op.VPSLLD, bits, free(1), pairs, 16);
    } else {
      code.vector(Op.VPAND, bits, free(1), pairs, free(2));
    }
  }

  /** {@code direct} is where a single row of x may find f32 of the weight, or null. */
  private void accumulate(Assembler code, int row, int n, int value, int xAt, Mem direct) {
    int sum = GROUP * row + n;
    switch (kind) {
      case F32 -> {
        if (rows == 1 && direct != null) {
          code.vector(Op.VFMADD231PS, bits, sum, free(0), direct);
        } else {
          code.vector(Op.VFMADD231PS, bits, sum, free(row), value);
        }
      }
      case BF16 -> code.vector(Op.VFMADD231PS, bits, sum, free(1), x(row, xAt));
      case F16 -> code.vector(Op.VFMADD231PS, bits, sum, value, x(row, xAt));
      case PAIRS -> {
        code.vector(Op.VPMADDWD, bits, free(1), value, x(row, xAt));
        code.vector(Op.VPADDD, bits, sum, sum, free(1));
      }
      case QUADS -> code.vector(Op.VPDPBUSD, bits, sum, value, x(row, xAt));
      case VEX_QUADS -> code.vexDotBytes(bits, sum, value, x(row, xAt));
    }
  }

  private static Mem x(int row, int at) {
    return Mem.inRow(Reg.R12, Reg.RBX, Reg.RBP, row, at);
  }

  private static Mem w(int row, int at) {
    return Mem.inRow(Reg.R13, Reg.R8, Reg.R10, row, at);
  }
}
