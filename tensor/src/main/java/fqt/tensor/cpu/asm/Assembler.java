package fqt.tensor.cpu.asm;

import java.io.ByteArrayOutputStream;

/**
 * Writes x86-64 machine code, shortest form first, as GNU as does. Vector registers are numbers
 * from 0 to 31; 16 and above, and 512-bit vectors, take the EVEX encoding.
 */
public final class Assembler {
  private final ByteArrayOutputStream code = new ByteArrayOutputStream();

  /** What was written so far. */
  public byte[] bytes() {
    return code.toByteArray();
  }

  /** Where the next instruction begins; the target of a backward jump. */
  public int here() {
    return code.size();
  }

  // --- vectors

  /**
   * {@code op first, second, third}, all vector registers.
   *
   * @param bits width of the vectors: 128, 256 or 512
   * @throws IllegalArgumentException if a register does not exist
   */
  public void vector(Op op, int bits, int first, int second, int third) {
    requireVector(first);
    requireVector(second);
    requireVector(third);
    if (bits == 512 || (first | second | third) > 15 || op.evexOnly) {
      evex(op, bits, first, second, third >> 4 & 1, third >> 3 & 1);
    } else {
      vex(op, bits, first, second, 0, third >> 3);
    }
    put(op.opcode);
    put(0xc0 | (first & 7) << 3 | third & 7);
  }

  /** {@code op to, from, count}: a shift of each element by a constant. */
  public void shift(Op op, int bits, int to, int from, int count) {
    vector(op, bits, op.digit, to, from);
    put(count);
  }

  /** {@code vinsertf128 to, to, [memory], 1}: the upper half of 256 bits. */
  public void upperHalf(int to, Mem memory) {
    vector(Op.VINSERTF128, 256, to, to, memory);
    put(1);
  }

  /** {@code op to, from, part}: the part of a vector of {@code bits} bits that is half as wide. */
  public void extract(Op op, int bits, int to, int from, int part) {
    vector(op, bits, from, 0, to);
    put(part);
  }

  /** {@code op first, second, third, order}: elements in an order that a constant says. */
  public void permute(Op op, int bits, int first, int second, int third, int order) {
    vector(op, bits, first, second, third);
    put(order);
  }

  /** {@code op first, second, [memory]}. */
  public void vector(Op op, int bits, int first, int second, Mem memory) {
    requireVector(first);
    requireVector(second);
    boolean wide = bits == 512 || (first | second) > 15 || op.evexOnly;
    if (wide) {
      evex(op, bits, first, second, memory.extendIndex(), memory.extendBase());
    } else {
      vex(op, bits, first, second, memory.extendIndex(), memory.extendBase());
    }
    put(op.opcode);
    memory(first, memory, wide ? op.memoryBytes(bits) : 1);
  }

  /** {@code op first, second, [base + displacement]}. */
  public void vector(Op op, int bits, int first, int second, Reg base, int displacement) {
    vector(op, bits, first, second, Mem.at(base, displacement));
  }

  /** {@code op first, [base + displacement]}, or the store in the other direction. */
  public void vector(Op op, int bits, int first, Reg base, int displacement) {
    vector(op, bits, first, 0, base, displacement);
  }

  /** {@code vpdpbusd first, second, third} in the VEX encoding of AVX-VNNI. */
  public void vexDotBytes(int bits, int first, int second, int third) {
    requireLow(first | second | third);
    vex(Op.VPDPBUSD, bits, first, second, 0, third >> 3);
    put(Op.VPDPBUSD.opcode);
    put(0xc0 | (first & 7) << 3 | third & 7);
  }

  /** {@code vpdpbusd first, second, [memory]} in the VEX encoding of AVX-VNNI. */
  public void vexDotBytes(int bits, int first, int second, Mem memory) {
    requireLow(first | second);
    vex(Op.VPDPBUSD, bits, first, second, memory.extendIndex(), memory.extendBase());
    put(Op.VPDPBUSD.opcode);
    memory(first, memory, 1);
  }

  private static void requireLow(int registers) {
    if (registers > 15) {
      throw new IllegalArgumentException("AVX-VNNI has vector registers 0 to 15 only");
    }
  }

  /** Clears the upper halves; mixing old and new vector code is slow without it. */
  public void vzeroupper() {
    put(0xc5, 0xf8, 0x77);
  }

  private void vex(Op op, int bits, int reg, int vvvv, int extendIndex, int extendBase) {
    int last = (~vvvv & 15) << 3 | (bits == 256 ? 4 : 0) | op.prefix;
    if (op.map == 1 && (extendBase | extendIndex) == 0) {
      put(0xc5, (~reg >> 3 & 1) << 7 | last);
    } else {
      int extend = (1 - extendIndex) << 6 | (1 - extendBase) << 5;
      put(0xc4, (~reg >> 3 & 1) << 7 | extend | op.map, last);
    }
  }

  private void evex(Op op, int bits, int reg, int vvvv, int extendIndex, int extendBase) {
    put(0x62);
    put(
        (~reg >> 3 & 1) << 7
            | (1 - extendIndex) << 6
            | (1 - extendBase) << 5
            | (~reg >> 4 & 1) << 4
            | op.map);
    put((~vvvv & 15) << 3 | 4 | op.prefix);
    put((bits == 512 ? 2 : bits == 256 ? 1 : 0) << 5 | (~vvvv >> 4 & 1) << 3);
  }

  private static void requireVector(int register) {
    if (register < 0 || register > 31) {
      throw new IllegalArgumentException("no vector register " + register);
    }
  }

  // --- tiles (AMX)

  /** {@code ldtilecfg [base + displacement]}: the shapes of the tiles. */
  public void loadTileShapes(Reg base, int displacement) {
    vex(Op.LDTILECFG, 128, 0, 0, 0, base.number() >> 3);
    put(Op.LDTILECFG.opcode);
    memory(0, Mem.at(base, displacement), 1);
  }

  /** {@code tilerelease}: gives the tiles back, as every function must before it returns. */
  public void releaseTiles() {
    put(0xc4, 0xe2, 0x78, 0x49, 0xc0);
  }

  /** {@code tilezero tile}. */
  public void zeroTile(int tile) {
    put(0xc4, 0xe2, 0x7b, 0x49, 0xc0 | tile << 3);
  }

  /** {@code tileloadd tile, [memory]} or {@code tilestored}; the index is the distance of rows. */
  public void tile(Op op, int tile, Mem memory) {
    vex(op, 128, tile, 0, memory.extendIndex(), memory.extendBase());
    put(op.opcode);
    memory(tile, memory, 1);
  }

  /** {@code op sums, rows, columns}: a product of tiles. */
  public void tiles(Op op, int sums, int rows, int columns) {
    vex(op, 128, sums, columns, 0, 0);
    put(op.opcode);
    put(0xc0 | sums << 3 | rows);
  }

  // --- general registers, 64 bits wide

  /** {@code mov to, from}. */
  public void move(Reg to, Reg from) {
    wide(from.number(), to.number());
    put(0x89);
    registers(from, to);
  }

  /** {@code mov eax, value} and its like: the lower 32 bits; the upper ones become 0. */
  public void move(Reg to, int value) {
    if (to.number() > 7) {
      put(0x41);
    }
    put(0xb8 | to.number() & 7);
    put32(value);
  }

  /** {@code mov to, [base + displacement]}. */
  public void load(Reg to, Reg base, int displacement) {
    wide(to.number(), base.number());
    put(0x8b);
    memory(to.number(), Mem.at(base, displacement), 1);
  }

  /** {@code mov [base + displacement], from}, the lower 32 bits. */
  public void storeInt(Reg from, Reg base, int displacement) {
    int rex = (from.number() >> 3) << 2 | base.number() >> 3;
    if (rex != 0) {
      put(0x40 | rex);
    }
    put(0x89);
    memory(from.number(), Mem.at(base, displacement), 1);
  }

  /** {@code add to, from}. */
  public void add(Reg to, Reg from) {
    wide(from.number(), to.number());
    put(0x01);
    registers(from, to);
  }

  /** Three times one register in another. */
  void triple(Reg to, Reg from) {
    move(to, from);
    add(to, from);
    add(to, from);
  }

  /** {@code add to, value}. */
  public void add(Reg to, int value) {
    arithmetic(0, to, value);
  }

  /** {@code and to, value}. */
  public void and(Reg to, int value) {
    arithmetic(4, to, value);
  }

  private void arithmetic(int operation, Reg to, int value) {
    wide(0, to.number());
    if (value == (byte) value) {
      put(0x83, 0xc0 | operation << 3 | to.number() & 7, value);
    } else if (to == Reg.RAX) {
      put(operation << 3 | 5);
      put32(value);
    } else {
      put(0x81, 0xc0 | operation << 3 | to.number() & 7);
      put32(value);
    }
  }

  /** {@code shl to, count}. */
  public void shiftLeft(Reg to, int count) {
    wide(0, to.number());
    put(0xc1, 0xe0 | to.number() & 7, count);
  }

  /** {@code shr to, count}. */
  public void shiftRight(Reg to, int count) {
    wide(0, to.number());
    put(0xc1, 0xe8 | to.number() & 7, count);
  }

  /** {@code dec register}. */
  public void decrement(Reg register) {
    wide(0, register.number());
    put(0xff, 0xc8 | register.number() & 7);
  }

  /** {@code test register, register}. */
  public void test(Reg register) {
    wide(register.number(), register.number());
    put(0x85);
    registers(register, register);
  }

  /** {@code xor ecx, ecx} and its like. */
  public void clear(Reg register) {
    int high = register.number() >> 3;
    if (high != 0) {
      put(0x45);
    }
    put(0x31);
    registers(register, register);
  }

  /** {@code push register}. */
  public void push(Reg register) {
    if (register.number() > 7) {
      put(0x41);
    }
    put(0x50 | register.number() & 7);
  }

  /** {@code pop register}. */
  public void pop(Reg register) {
    if (register.number() > 7) {
      put(0x41);
    }
    put(0x58 | register.number() & 7);
  }

  /** The registers that belong to the caller, but for rsp. */
  private static final Reg[] OF_THE_CALLER = {Reg.RBX, Reg.RBP, Reg.R12, Reg.R13, Reg.R14, Reg.R15};

  /** Where {@link #saveAll} leaves the first argument on the stack, in bytes from rsp. */
  static final int STACK_ARGUMENTS = (OF_THE_CALLER.length + 1) * Long.BYTES;

  /** Saves the registers that belong to the caller. */
  void saveAll() {
    for (Reg register : OF_THE_CALLER) {
      push(register);
    }
  }

  /** Gives the caller its registers back and returns. */
  void restoreAllAndReturn() {
    for (int i = OF_THE_CALLER.length - 1; i >= 0; i--) {
      pop(OF_THE_CALLER[i]);
    }
    ret();
  }

  /** The same four bytes in all lanes of a register; uses rax and the stack below rsp. */
  void broadcast(int bits, int register, int value) {
    move(Reg.RAX, value);
    storeInt(Reg.RAX, Reg.RSP, -8);
    vector(Op.VBROADCASTSS, bits, register, Reg.RSP, -8);
  }

  /** {@code jnz target}, backwards. */
  public void jumpNotZero(int target) {
    int near = target - here() - 2;
    if (near >= -128) {
      put(0x75, near);
    } else {
      put(0x0f, 0x85);
      put32(near - 4);
    }
  }

  /** {@code jz} to a place that is not known yet; {@link #land} fills it in. */
  public int jumpZero() {
    put(0x0f, 0x84);
    put32(0);
    return here();
  }

  /** Lets the jump that {@link #jumpZero} wrote end here. */
  public void land(int jump) {
    byte[] soFar = code.toByteArray();
    int distance = here() - jump;
    for (int i = 0; i < 4; i++) {
      soFar[jump - 4 + i] = (byte) (distance >> 8 * i);
    }
    code.reset();
    code.writeBytes(soFar);
  }

  /** {@code cpuid}. */
  public void cpuid() {
    put(0x0f, 0xa2);
  }

  /** {@code xgetbv}. */
  public void xgetbv() {
    put(0x0f, 0x01, 0xd0);
  }

  /** {@code prefetcht0 [memory]}: wants a cache line soon. */
  public void prefetch(Mem memory) {
    prefetch(1, memory);
  }

  /** {@code prefetcht1 [memory]}: wants a cache line in the second-level cache soon. */
  public void prefetchSecond(Mem memory) {
    prefetch(2, memory);
  }

  private void prefetch(int level, Mem memory) {
    int rex = memory.extendIndex() << 1 | memory.extendBase();
    if (rex != 0) {
      put(0x40 | rex);
    }
    put(0x0f, 0x18);
    memory(level, memory, 1);
  }

  /** {@code sfence}: what was stored past the caches is seen before what is stored from here on. */
  public void storeFence() {
    put(0x0f, 0xae, 0xf8);
  }

  /** {@code ret}. */
  public void ret() {
    put(0xc3);
  }

  private void wide(int reg, int rm) {
    put(0x48 | (reg >> 3) << 2 | rm >> 3);
  }

  private void registers(Reg reg, Reg rm) {
    put(0xc0 | (reg.number() & 7) << 3 | rm.number() & 7);
  }

  /** Modrm, an index byte where there must be one, and the displacement in units of scale. */
  private void memory(int reg, Mem memory, int scale) {
    int low = memory.base().number() & 7;
    int displacement = memory.displacement();
    int units = displacement / scale;
    boolean none = displacement == 0 && low != 5;
    boolean small = displacement % scale == 0 && units == (byte) units;
    boolean indexed = memory.index() != null;
    int mode = none ? 0 : small ? 1 : 2;
    put(mode << 6 | (reg & 7) << 3 | (indexed ? 4 : low));
    if (indexed) {
      int step = Integer.numberOfTrailingZeros(memory.scale());
      put(step << 6 | (memory.index().number() & 7) << 3 | low);
    } else if (low == 4) {
      put(0x24);
    }
    if (mode == 1) {
      put(units);
    } else if (mode == 2) {
      put32(displacement);
    }
  }

  private void put(int... values) {
    for (int value : values) {
      code.write(value);
    }
  }

  private void put32(int value) {
    put(value, value >> 8, value >> 16, value >> 24);
  }
}
