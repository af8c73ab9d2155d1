package fqt.tensor.cpu.asm;

import static fqt.tensor.cpu.asm.MachineFunction.address;
import static fqt.tensor.cpu.asm.MachineFunction.keep;

import java.lang.foreign.MemorySegment;

/**
 * The passes of a softmax over a row of whole vectors: its largest number, the exponentials of the
 * distances from it with their sum, and their products with a factor. While the second pass
 * computes, what comes after the row is fetched into the cache.
 */
public final class ExpKernel {
  /** Sums that {@link #weigh} keeps. */
  public static final int SUMS = 4;

  private final MachineFunction max;
  private final MachineFunction weigh;
  private final MachineFunction weighAndScale;
  private final MachineFunction sum;
  private final MachineFunction scale;
  private final MachineFunction scaleFar;

  /**
   * Assembles the kernels.
   *
   * @param bits width of the vectors, 256 or 512
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  public ExpKernel(int bits) throws ExecutableMemory.Refused {
    max = new MachineFunction(3, maxCode(bits));
    weigh = new MachineFunction(6, weighCode(bits, true, false));
    weighAndScale = new MachineFunction(8, weighCode(bits, true, true));
    sum = new MachineFunction(5, weighCode(bits, false, false));
    scale = new MachineFunction(4, scaleCode(bits, Store.NEAR));
    scaleFar = new MachineFunction(4, scaleCode(bits, Store.FAR));
  }

  /**
   * The largest number of each lane; where there is a NaN, that or another.
   *
   * @param vectors at least 1
   * @param largest a vector, from which the search starts
   */
  public void max(long vectors, MemorySegment x, MemorySegment largest) {
    max.call(vectors, address(x), address(largest));
    keep(x, largest);
  }

  /**
   * {@code out = e^(x − shift)} for x that are no larger than the shift, as {@link Exponential} has
   * it.
   *
   * @param blocks at least 1: their sums are made in F32, those of several in F64
   * @param vectors in a block, at least 1
   * @param ahead bytes from x on to what will be wanted next
   * @param state a vector with the shift in all lanes, and {@link #SUMS} F64 to which the results
   *     are added
   * @param out may be x; null if only the sums are wanted
   */
  public void weigh(
      long blocks,
      long vectors,
      MemorySegment x,
      long ahead,
      MemorySegment state,
      MemorySegment out) {
    if (out == null) {
      sum.call(blocks, vectors, address(x), ahead, address(state));
    } else {
      weigh.call(blocks, vectors, address(x), ahead, address(state), address(out));
    }
    keep(x, state, out);
  }

  /**
   * The same, and as many numbers of another row times a factor, written past the caches.
   *
   * @param state has the factor in all lanes of a third vector
   * @param scaled begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void weigh(
      long blocks,
      long vectors,
      MemorySegment x,
      long ahead,
      MemorySegment state,
      MemorySegment out,
      MemorySegment row,
      MemorySegment scaled) {
    weighAndScale.call(
        blocks,
        vectors,
        address(x),
        ahead,
        address(state),
        address(out),
        address(row),
        address(scaled));
    keep(x, state, out);
    keep(row, scaled);
  }

  /**
   * {@code out = x * factor}.
   *
   * @param vectors at least 1
   * @param factor one F32
   * @param out may be x
   * @param store FAR only if out begins at a multiple of {@link Store#ALIGNMENT}
   */
  public void scale(
      long vectors, MemorySegment x, MemorySegment factor, MemorySegment out, Store store) {
    if (store == Store.FAR) {
      scaleFar.call(vectors, address(x), address(factor), address(out));
    } else {
      scale.call(vectors, address(x), address(factor), address(out));
    }
    keep(x, factor, out);
  }

  /** rdi vectors, rsi x, rdx largest. */
  private static byte[] maxCode(int bits) {
    Assembler code = new Assembler();
    code.vector(Op.VMOVUPS, bits, 0, Reg.RDX, 0);
    int vector = code.here();
    code.vector(Op.VMAXPS, bits, 0, 0, Reg.RSI, 0);
    code.add(Reg.RSI, bits / 8);
    code.decrement(Reg.RDI);
    code.jumpNotZero(vector);
    code.vector(Op.VMOVUPS_STORE, bits, 0, Reg.RDX, 0);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }

  /** rdi blocks, rsi vectors, rdx x, rcx ahead, r8 state, r9 out; on the stack row and scaled. */
  private static byte[] weighCode(int bits, boolean stores, boolean scales) {
    int bytes = bits / 8;
    int sum = Exponential.FREE;
    Assembler code = new Assembler();
    Exponential.constants(code, bits);
    if (scales) {
      code.load(Reg.R11, Reg.RSP, Long.BYTES);
      code.load(Reg.RAX, Reg.RSP, 2 * Long.BYTES);
    }
    int block = code.here();
    code.vector(Op.VXORPS, bits, sum, sum, sum);
    code.move(Reg.R10, Reg.RSI);
    int vector = code.here();
    code.prefetch(Mem.at(Reg.RDX, Reg.RCX, 1, 0));
    code.vector(Op.VMOVUPS, bits, 0, Reg.RDX, 0);
    code.vector(Op.VSUBPS, bits, 0, 0, Reg.R8, 0);
    Exponential.emit(code, bits);
    code.vector(Op.VADDPS, bits, sum, sum, 2);
    if (stores) {
      code.vector(Op.VMOVUPS_STORE, bits, 2, Reg.R9, 0);
      code.add(Reg.R9, bytes);
    }
    if (scales) {
      code.vector(Op.VMOVUPS, bits, 0, Reg.R11, 0);
      code.vector(Op.VMULPS, bits, 0, 0, Reg.R8, 2 * bytes);
      Store.FAR.emit(code, bits, 0, Reg.RAX, 0);
      code.add(Reg.R11, bytes);
      code.add(Reg.RAX, bytes);
    }
    code.add(Reg.RDX, bytes);
    code.decrement(Reg.R10);
    code.jumpNotZero(vector);
    addUp(code, bits, sum);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    (scales ? Store.FAR : Store.NEAR).end(code);
    return code.bytes();
  }

  /** Adds the lanes of a vector to the sums of the state. */
  private static void addUp(Assembler code, int bits, int sum) {
    if (bits == 512) {
      code.extract(Op.VEXTRACTF32X8, 512, 0, sum, 1);
      code.vector(Op.VADDPS, 256, sum, sum, 0);
    }
    code.extract(Op.VEXTRACTF128, 256, 0, sum, 1);
    code.vector(Op.VCVTPS2PD, 256, 0, 0, 0);
    code.vector(Op.VCVTPS2PD, 256, 1, 0, sum);
    code.vector(Op.VADDPD, 256, 0, 0, 1);
    code.vector(Op.VADDPD, 256, 0, 0, Reg.R8, bits / 8);
    code.vector(Op.VMOVUPS_STORE, 256, 0, Reg.R8, bits / 8);
  }

  /** rdi vectors, rsi x, rdx factor, rcx out. */
  private static byte[] scaleCode(int bits, Store store) {
    Assembler code = new Assembler();
    code.vector(Op.VBROADCASTSS, bits, 1, Reg.RDX, 0);
    int vector = code.here();
    code.vector(Op.VMULPS, bits, 0, 1, Reg.RSI, 0);
    store.emit(code, bits, 0, Reg.RCX, 0);
    code.add(Reg.RSI, bits / 8);
    code.add(Reg.RCX, bits / 8);
    code.decrement(Reg.RDI);
    code.jumpNotZero(vector);
    store.end(code);
    return code.bytes();
  }
}
