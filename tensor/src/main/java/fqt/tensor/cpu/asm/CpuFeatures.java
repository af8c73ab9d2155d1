package fqt.tensor.cpu.asm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.StringJoiner;

/**
 * What the processor can do and the operating system lets it do (Intel SDM, volume 2, CPUID).
 *
 * @param avx2 256-bit vectors with fused multiply-add
 * @param avx512 512-bit vectors: F, BW, DQ and VL
 * @param avx512Vnni byte dot products on 512-bit vectors
 * @param avxVnni byte dot products on 256-bit vectors
 * @param avx512Bf16 bf16 dot products on 512-bit vectors
 * @param amx tiles with int8 and bf16 products
 */
public record CpuFeatures(
    boolean avx2,
    boolean avx512,
    boolean avx512Vnni,
    boolean avxVnni,
    boolean avx512Bf16,
    boolean amx) {

  /** Whether the system lets this process use tiles; false without asking if there are none. */
  public boolean requestTiles() {
    return amx && TilePermission.request();
  }

  /**
   * Asks the processor.
   *
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public static CpuFeatures detect() throws ExecutableMemory.Refused {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(16, 16);
      MachineFunction cpuid = new MachineFunction(3, cpuidCode());
      int[] none = new int[4];
      int[] basic = ask(cpuid, 1, 0, out);
      boolean saved = (basic[2] >>> 27 & 1) == 1;
      long enabled = saved ? enabledState(out) : 0;
      boolean extended = ask(cpuid, 0, 0, out)[0] >= 7;
      int[] seven = extended ? ask(cpuid, 7, 0, out) : none;
      int[] sevenOne = extended && seven[0] >= 1 ? ask(cpuid, 7, 1, out) : none;
      return of(basic, seven, sevenOne, enabled);
    }
  }

  /**
   * Reads the bits.
   *
   * @param basic eax, ebx, ecx, edx of leaf 1
   * @param seven of leaf 7, subleaf 0
   * @param sevenOne of leaf 7, subleaf 1
   * @param enabled XCR0, the register state that the operating system saves
   */
  static CpuFeatures of(int[] basic, int[] seven, int[] sevenOne, long enabled) {
    boolean ymm = (enabled & 0x6) == 0x6;
    boolean zmm = (enabled & 0xe6) == 0xe6;
    boolean tiles = (enabled & 0x60000) == 0x60000;
    boolean avx2 = ymm && bit(basic[2], 12) && bit(basic[2], 28) && bit(seven[1], 5);
    boolean avx512 =
        zmm
            && avx2
            && bit(seven[1], 16)
            && bit(seven[1], 17)
            && bit(seven[1], 30)
            && bit(seven[1], 31);
    return new CpuFeatures(
        avx2,
        avx512,
        avx512 && bit(seven[2], 11),
        avx2 && bit(sevenOne[0], 4),
        avx512 && bit(sevenOne[0], 5),
        tiles && bit(seven[3], 22) && bit(seven[3], 24) && bit(seven[3], 25));
  }

  /** The names of what there is, for people. */
  public String names() {
    StringJoiner names = new StringJoiner(", ");
    names.setEmptyValue("none that count");
    add(names, avx2, "AVX2");
    add(names, avxVnni, "AVX-VNNI");
    add(names, avx512, "AVX-512");
    add(names, avx512Vnni, "AVX512-VNNI");
    add(names, avx512Bf16, "AVX512-BF16");
    add(names, amx, "AMX");
    return names.toString();
  }

  private static void add(StringJoiner names, boolean present, String name) {
    if (present) {
      names.add(name);
    }
  }

  private static boolean bit(int word, int index) {
    return (word >>> index & 1) == 1;
  }

  /** {@code void cpuid(long leaf, long subleaf, int[4] out)}; rbx belongs to the caller. */
  private static byte[] cpuidCode() {
    Assembler code = new Assembler();
    code.push(Reg.RBX);
    code.move(Reg.R8, Reg.RDX);
    code.move(Reg.RAX, Reg.RDI);
    code.move(Reg.RCX, Reg.RSI);
    code.cpuid();
    code.storeInt(Reg.RAX, Reg.R8, 0);
    code.storeInt(Reg.RBX, Reg.R8, 4);
    code.storeInt(Reg.RCX, Reg.R8, 8);
    code.storeInt(Reg.RDX, Reg.R8, 12);
    code.pop(Reg.RBX);
    code.ret();
    return code.bytes();
  }

  private static int[] ask(MachineFunction cpuid, int leaf, int subleaf, MemorySegment out) {
    cpuid.call(leaf, subleaf, MachineFunction.address(out));
    return out.toArray(ValueLayout.JAVA_INT);
  }

  /** The register XCR0, by {@code void xgetbv(long register, int[2] out)}. */
  private static long enabledState(MemorySegment out) throws ExecutableMemory.Refused {
    Assembler code = new Assembler();
    code.move(Reg.RCX, Reg.RDI);
    code.xgetbv();
    code.storeInt(Reg.RAX, Reg.RSI, 0);
    code.storeInt(Reg.RDX, Reg.RSI, Integer.BYTES);
    code.ret();
    new MachineFunction(2, code.bytes()).call(0, MachineFunction.address(out));
    return out.get(ValueLayout.JAVA_LONG, 0);
  }
}
