package fqt.bench;

import fqt.tensor.cpu.asm.Assembler;
import fqt.tensor.cpu.asm.ExecutableMemory;
import fqt.tensor.cpu.asm.MachineFunction;
import fqt.tensor.cpu.asm.Mem;
import fqt.tensor.cpu.asm.Op;
import fqt.tensor.cpu.asm.Reg;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Reads memory once and does nothing else, in machine code: four streams side by side. With {@link
 * #SIDE_BY_SIDE} they are lines that follow each other, so that memory is read from its beginning
 * to its end.
 */
final class ReadLoop {
  /** Distance of streams that are one stream together. */
  static final int SIDE_BY_SIDE = 64;

  private static final int STREAMS = 4;
  private static final int LINE = 64;
  private static final int VECTOR = 32;

  private final int stride;
  private final MachineFunction function;

  /**
   * Assembles the loop.
   *
   * @param stride distance of the four streams in bytes, a multiple of 64
   * @throws ExecutableMemory.Refused if machine code cannot run here
   */
  ReadLoop(int stride) throws ExecutableMemory.Refused {
    this.stride = stride;
    this.function = new MachineFunction(2, code());
  }

  /** Reads all but what is behind the last whole block of four streams. */
  void read(MemorySegment memory) {
    long blocks = memory.byteSize() / ((long) STREAMS * stride);
    try {
      function.call(blocks, MachineFunction.address(memory));
    } finally {
      Reference.reachabilityFence(memory);
    }
  }

  /** rdi blocks of four streams, rsi memory. */
  private byte[] code() {
    Assembler code = new Assembler();
    code.move(Reg.R8, stride);
    code.move(Reg.R10, 3 * stride);
    int block = code.here();
    code.move(Reg.RAX, stride / LINE);
    int line = code.here();
    for (int half = 0; half < LINE / VECTOR; half++) {
      for (int stream = 0; stream < STREAMS; stream++) {
        int sum = STREAMS * half + stream;
        Reg index = stream == 3 ? Reg.R10 : Reg.R8;
        Mem place =
            stream == 0
                ? Mem.at(Reg.RSI, half * VECTOR)
                : Mem.at(Reg.RSI, index, stream == 2 ? 2 : 1, half * VECTOR);
        code.vector(Op.VPXOR, 256, sum, sum, place);
      }
    }
    code.add(Reg.RSI, LINE);
    code.decrement(Reg.RAX);
    code.jumpNotZero(line);
    code.add(Reg.RSI, Reg.R10);
    code.decrement(Reg.RDI);
    code.jumpNotZero(block);
    code.vzeroupper();
    code.ret();
    return code.bytes();
  }
}
