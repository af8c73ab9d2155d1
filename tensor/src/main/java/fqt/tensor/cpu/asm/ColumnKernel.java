package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The column loop of GPTQ for {@link #ROWS} rows that lie on their side: the numbers of one column
 * side by side, in vectors. Four columns at a time: first the errors of all columns before them are
 * taken out of them, a product whose sums stay in registers; then they are rounded one after the
 * other. Every number goes through the operations of a plain loop in the same order.
 */
public final class ColumnKernel {
  /** Rows that are worked on together. */
  public static final int ROWS = 48;

  /** Columns that are worked on together. */
  public static final int COLUMNS = 4;

  /** Bytes of a column. */
  public static final int COLUMN_BYTES = ROWS * Float.BYTES;

  /** Bytes of the parameters: the largest code, what comes next, then sixteen flags. */
  public static final int PARAMETER_BYTES = 128;

  /** Matrices of which the next rows are asked for. */
  public static final int MATRICES = 3;

  private static final int NEXT = 8;
  private static final int FLAGS = 64;

  /** Lines of each matrix that a group asks for. */
  private static final int NEXT_LINES = 16;

  /** Lines of a row of 128 columns: two rows a group, so that 24 groups ask for all. */
  private static final int ROW_LINES = 8;

  /** Lines that a column of 48 rows may touch: four columns a group, as it works on four. */
  private static final int COLUMN_LINES = 4;

  private static final int LINE = 64;

  private static final Reg[] NEXT_ROW = {Reg.R13, Reg.R14, Reg.R15};

  /** Vectors of a column whose sums are in registers together. */
  private static final int AT_ONCE = 3;

  /** Rounds to the nearest whole number, ties to even, and says nothing about it. */
  private static final int NEAREST = 8;

  private final MachineFunction byRows;
  private final MachineFunction byColumns;

  /**
   * Assembles the kernel.
   *
   * @param bits width of the vectors, 256 or 512
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public ColumnKernel(int bits) throws ExecutableMemory.Refused {
    byRows = new MachineFunction(8, code(bits, ROW_LINES));
    byColumns = new MachineFunction(8, code(bits, COLUMN_LINES));
  }

  /** Numbers of the factor for that many groups of four columns, as {@link #run} reads it. */
  public static long factorLength(long groups) {
    return groups * (groups + 1) / 2 * COLUMNS * COLUMNS;
  }

  /**
   * Says where rows begin that will be wanted after the next {@link #run}, which asks for them: it
   * has much to compute and little to read.
   *
   * @param matrix 0 to 2
   * @param address of the first of 48 rows, or of the first column; nothing is read there
   * @param stride from a row, or a column, to the next, in bytes
   */
  public static void next(MemorySegment parameters, int matrix, long address, long stride) {
    long at = NEXT + 2L * matrix * Long.BYTES;
    parameters.set(ValueLayout.JAVA_LONG, at, address);
    parameters.set(ValueLayout.JAVA_LONG, at + Long.BYTES, stride);
  }

  /**
   * Rounds {@code 4 * groups} columns.
   *
   * @param groups at least 1
   * @param x F32, the weights; overwritten by what their codes stand for
   * @param scale F32, like x
   * @param zero F32, like x, whole numbers
   * @param error F32, like x, written
   * @param codes I32, four codes of neighbouring columns each, the first in the lowest byte
   * @param factor F32: for each group the four columns of the triangle that belong to it, row by
   *     row, to the last row of the group
   * @param high the largest code
   * @param parameters of {@link #PARAMETER_BYTES}, with what {@link #next} left there
   * @param columnsNext whether the second and third matrix there are asked for by columns
   * @return whether no quotient was NaN or infinite; if not, results of NaN are wrong
   */
  public boolean run(
      long groups,
      MemorySegment x,
      MemorySegment scale,
      MemorySegment zero,
      MemorySegment error,
      MemorySegment codes,
      MemorySegment factor,
      float high,
      MemorySegment parameters,
      boolean columnsNext) {
    parameters.asSlice(FLAGS).fill((byte) 0);
    parameters.set(ValueLayout.JAVA_FLOAT, 0, high);
    MachineFunction function = columnsNext ? byColumns : byRows;
    function.call(
        groups,
        address(x),
        address(scale),
        address(zero),
        address(error),
        address(codes),
        address(factor),
        address(parameters));
    keep(x, scale, zero);
    keep(error, codes);
    keep(factor, parameters);
    float flags = 0;
    for (int i = 0; i < 16; i++) {
      flags += parameters.get(ValueLayout.JAVA_FLOAT, FLAGS + (long) i * Float.BYTES);
    }
    return flags == 0;
  }

  /**
   * rdi groups, rsi x, rdx scale, rcx zero, r8 error, r9 codes, r10 factor, r11 parameters; r12 the
   * groups done, rbx errors, rbp factor and rax groups on the way through them; r13 to r15 rows
   * that are asked for.
   */
  private static byte[] code(int bits, int lines) {
    Assembler code = new Assembler();
    code.saveAll();
    code.load(Reg.R10, Reg.RSP, Assembler.STACK_ARGUMENTS);
    code.load(Reg.R11, Reg.RSP, Assembler.STACK_ARGUMENTS + Long.BYTES);
    code.clear(Reg.R12);
    for (int i = 0; i < MATRICES; i++) {
      code.load(NEXT_ROW[i], Reg.R11, NEXT + 2 * i * Long.BYTES);
    }
    int group = code.here();
    int vectors = COLUMN_BYTES * 8 / bits;
    for (int first = 0; first < vectors; first += AT_ONCE) {
      update(code, bits, first * bits / 8);
    }
    for (int column = 0; column < COLUMNS; column++) {
      round(code, bits, column, lines);
    }
    code.add(Reg.RSI, COLUMNS * COLUMN_BYTES);
    code.add(Reg.RDX, COLUMNS * COLUMN_BYTES);
    code.add(Reg.RCX, COLUMNS * COLUMN_BYTES);
    code.add(Reg.R9, COLUMN_BYTES);
    code.move(Reg.R10, Reg.RBP);
    code.add(Reg.R10, COLUMNS * COLUMNS * Float.BYTES);
    code.add(Reg.R12, 1);
    code.decrement(Reg.RDI);
    code.jumpNotZero(group);
    code.vzeroupper();
    code.restoreAllAndReturn();
    return code.bytes();
  }

  /** Takes the errors of the columns before a group out of some vectors of its columns. */
  private static void update(Assembler code, int bits, int offset) {
    int error = COLUMNS * AT_ONCE;
    int factor = error + AT_ONCE;
    code.move(Reg.RBX, Reg.R8);
    code.move(Reg.RBP, Reg.R10);
    code.move(Reg.RAX, Reg.R12);
    code.test(Reg.RAX);
    int none = code.jumpZero();
    sums(code, Op.VMOVUPS, bits, offset);
    int before = code.here();
    for (int i = 0; i < COLUMNS; i++) {
      for (int v = 0; v < AT_ONCE; v++) {
        int place = i * COLUMN_BYTES + offset + v * bits / 8;
        code.vector(Op.VMOVUPS, bits, error + v, Reg.RBX, place);
      }
      for (int column = 0; column < COLUMNS; column++) {
        int place = (i * COLUMNS + column) * Float.BYTES;
        code.vector(Op.VBROADCASTSS, bits, factor, Reg.RBP, place);
        for (int v = 0; v < AT_ONCE; v++) {
          code.vector(Op.VFNMADD231PS, bits, column * AT_ONCE + v, factor, error + v);
        }
      }
    }
    code.add(Reg.RBX, COLUMNS * COLUMN_BYTES);
    code.add(Reg.RBP, COLUMNS * COLUMNS * Float.BYTES);
    code.decrement(Reg.RAX);
    code.jumpNotZero(before);
    sums(code, Op.VMOVUPS_STORE, bits, offset);
    code.land(none);
  }

  private static void sums(Assembler code, Op op, int bits, int offset) {
    for (int i = 0; i < COLUMNS * AT_ONCE; i++) {
      int place = i / AT_ONCE * COLUMN_BYTES + offset + i % AT_ONCE * bits / 8;
      code.vector(op, bits, i, Reg.RSI, place);
    }
  }

  /** One column of a group; rbx its errors, rbp its part of the factor. */
  private static void round(Assembler code, int bits, int column, int lines) {
    int weight = 0;
    int value = 1;
    int zero = 2;
    int whole = 3;
    int high = 8;
    int nothing = 9;
    int flags = 10;
    int factor = 11;
    code.vector(Op.VBROADCASTSS, bits, high, Reg.R11, 0);
    code.vector(Op.VMOVUPS, bits, flags, Reg.R11, FLAGS);
    code.vector(Op.VXORPS, 128, nothing, nothing, nothing);
    for (int i = 0; i <= column; i++) {
      int place = (i * COLUMNS + column) * Float.BYTES;
      code.vector(Op.VBROADCASTSS, bits, factor + i, Reg.RBP, place);
    }
    for (int at = 0; at < COLUMN_BYTES; at += bits / 8) {
      int place = column * COLUMN_BYTES + at;
      code.vector(Op.VMOVUPS, bits, weight, Reg.RSI, place);
      for (int i = 0; i < column; i++) {
        Mem error = Mem.at(Reg.RBX, i * COLUMN_BYTES + at);
        code.vector(Op.VFNMADD231PS, bits, weight, factor + i, error);
      }
      code.vector(Op.VDIVPS, bits, value, weight, Reg.RDX, place);
      code.vector(Op.VFMADD231PS, bits, flags, value, nothing);
      code.permute(Op.VROUNDPS, bits, value, 0, value, NEAREST);
      code.vector(Op.VMOVUPS, bits, zero, Reg.RCX, place);
      code.vector(Op.VADDPS, bits, value, value, zero);
      code.vector(Op.VMAXPS, bits, value, value, nothing);
      code.vector(Op.VMINPS, bits, value, value, high);
      code.vector(Op.VCVTPS2DQ, bits, whole, 0, value);
      if (column > 0) {
        code.shift(Op.VPSLLD, bits, whole, whole, column * Byte.SIZE);
        code.vector(Op.VPADDD, bits, whole, whole, Reg.R9, at);
      }
      code.vector(Op.VMOVUPS_STORE, bits, whole, Reg.R9, at);
      code.vector(Op.VSUBPS, bits, value, value, zero);
      code.vector(Op.VMULPS, bits, value, value, Reg.RDX, place);
      code.vector(Op.VMOVUPS_STORE, bits, value, Reg.RSI, place);
      code.vector(Op.VSUBPS, bits, weight, weight, value);
      code.vector(Op.VDIVPS, bits, weight, weight, factor + column);
      code.vector(Op.VMOVUPS_STORE, bits, weight, Reg.RBX, place);
      askForNext(code, bits, place, lines);
    }
    code.vector(Op.VMOVUPS_STORE, bits, flags, Reg.R11, FLAGS);
  }

  /**
   * A share of the lines that a group asks for, as one vector of one of its columns has it; the
   * second and third matrix have so many lines side by side.
   */
  private static void askForNext(Assembler code, int bits, int place, int lines) {
    int all = MATRICES * NEXT_LINES;
    int share = all * bits / 8 / (COLUMNS * COLUMN_BYTES);
    int first = place / (bits / 8) * share;
    for (int i = first; i < first + share; i++) {
      int matrix = i % MATRICES;
      int wide = matrix == 0 ? ROW_LINES : lines;
      int line = i / MATRICES % wide;
      code.prefetchSecond(Mem.at(NEXT_ROW[matrix], line * LINE));
      if (line == wide - 1) {
        code.load(Reg.RAX, Reg.R11, NEXT + (2 * matrix + 1) * Long.BYTES);
        code.add(NEXT_ROW[matrix], Reg.RAX);
      }
    }
  }
}
