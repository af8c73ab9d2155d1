package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.cpu.asm.HalfKernel;
import fqt.tensor.cpu.asm.Store;
import fqt.tensor.cpu.asm.StreamKernel;
import java.lang.foreign.MemorySegment;

/** What machine code copies and converts: whole blocks of elements that lie side by side. */
final class MachineCopies {
  private MachineCopies() {}

  /** Copies or converts the first elements of a run. */
  @FunctionalInterface
  interface Run {
    /** Does whole blocks of n elements, from element a on to element b; {@return how many} */
    long copy(MemorySegment from, long a, MemorySegment to, long b, long n);
  }

  /**
   * What copies elements of one type to another, or null if machine code is no better or cannot.
   *
   * @param count elements of the whole result
   */
  static Run between(RowKernels machine, DType source, DType target, long count) {
    long total = count * target.byteSize();
    if (machine == null) {
      return null;
    }
    if (source == target) {
      return total < Store.FAR_FROM ? null : stream(machine.stream(), source);
    }
    HalfKernel.Type half = half(source == DType.F32 ? target : source);
    if (half != null && target == DType.F32) {
      HalfKernel kernel = machine.half(half);
      return run(
          source, target, (blocks, from, to) -> kernel.widen(blocks, from, to, at(to, total)));
    }
    if (half != null && source == DType.F32) {
      HalfKernel kernel = machine.half(half);
      return run(
          source, target, (blocks, from, to) -> kernel.narrow(blocks, from, to, at(to, total)));
    }
    MachineFloat8 float8 = MachineFloat8.between(machine, source, target);
    return float8 == null ? null : (from, a, to, b, n) -> float8.convert(from, a, to, b, n, total);
  }

  private static HalfKernel.Type half(DType dtype) {
    return switch (dtype) {
      case BF16 -> HalfKernel.Type.BF16;
      case F16 -> HalfKernel.Type.F16;
      case F32, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8, BOOL -> null;
    };
  }

  private static Store at(MemorySegment to, long total) {
    return Store.of(to.address(), total);
  }

  private interface Blocks {
    void run(long blocks, MemorySegment from, MemorySegment to);
  }

  private static Run run(DType source, DType target, Blocks kernel) {
    return (from, a, to, b, n) -> {
      long blocks = n / HalfKernel.BLOCK;
      long done = blocks * HalfKernel.BLOCK;
      if (blocks > 0) {
        kernel.run(blocks, part(from, source, a, done), part(to, target, b, done));
      }
      return done;
    };
  }

  private static Run stream(StreamKernel kernel, DType dtype) {
    int block = StreamKernel.BLOCK / dtype.byteSize();
    return (from, a, to, b, n) -> {
      long done = n / block * block;
      MemorySegment target = part(to, dtype, b, done);
      if (done == 0 || target.address() % Store.ALIGNMENT != 0) {
        return 0;
      }
      kernel.copy(n / block, part(from, dtype, a, done), target);
      return done;
    };
  }

  /** A part of memory that machine code may go through: it checks no bounds itself. */
  private static MemorySegment part(MemorySegment all, DType dtype, long index, long count) {
    int size = dtype.byteSize();
    return all.asSlice(index * size, count * size);
  }
}
