package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.cpu.asm.Float8Kernel;
import fqt.tensor.cpu.asm.Store;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Runs of F32 or BF16 to codes of an 8-bit float type and back by machine code. */
final class MachineFloat8 {
  private static final int BLOCK = Float8Kernel.BLOCK;

  private static final ThreadLocal<MemorySegment> SCALE =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(Float.BYTES));

  private final Float8Kernel kernel;
  private final DType source;
  private final DType target;

  private MachineFloat8(Float8Kernel kernel, DType source, DType target) {
    this.kernel = kernel;
    this.source = source;
    this.target = target;
  }

  /** What converts one type to another, or null if that is not machine code's. */
  static MachineFloat8 between(RowKernels machine, DType source, DType target) {
    Float8Kernel.Type type = type(isWide(source) ? target : source);
    boolean serves = type != null && (isWide(source) || isWide(target));
    return machine != null && serves
        ? new MachineFloat8(machine.float8(type), source, target)
        : null;
  }

  private static boolean isWide(DType dtype) {
    return dtype == DType.F32 || dtype == DType.BF16;
  }

  private static Float8Kernel.Type type(DType dtype) {
    return switch (dtype) {
      case F8_E4M3 -> Float8Kernel.Type.E4M3;
      case F8_E5M2 -> Float8Kernel.Type.E5M2;
      case F32, BF16, F16, I64, I32, I16, I8, U8, BOOL -> null;
    };
  }

  /** Whether codes may be all finite numbers of the type. */
  boolean hasRange(float low, float high) {
    float most = target == DType.F8_E4M3 ? Float8.E4M3_MAX : Float8.E5M2_MAX;
    return low == -most && high == most;
  }

  /** Converts the first elements of a run of a result of so many bytes; {@return how many} */
  long convert(MemorySegment from, long a, MemorySegment to, long b, long n, long total) {
    long blocks = n / BLOCK;
    if (blocks > 0) {
      MemorySegment in = part(from, source, a, blocks);
      MemorySegment out = part(to, target, b, blocks);
      if (isWide(source)) {
        kernel.encode(blocks, source == DType.BF16, in, out);
      } else {
        kernel.decode(blocks, in, target == DType.BF16, out, Store.of(out.address(), total));
      }
    }
    return blocks * BLOCK;
  }

  /** The codes of {@code n} F32 elements, from element {@code index} on, over their scale. */
  void quantize(
      MemorySegment from,
      long index,
      int n,
      float scale,
      MemorySegment to,
      MachineCodes.Ahead ahead) {
    long blocks = n / BLOCK;
    if (blocks > 0) {
      MemorySegment divisor = SCALE.get();
      Element.f32(divisor, 0, scale);
      MemorySegment in = part(from, DType.F32, index, blocks);
      MemorySegment out = part(to, target, index, blocks);
      kernel.quantize(blocks, in, out, divisor, ahead.of(in), ahead.lines());
    }
    for (long i = index + blocks * BLOCK; i < index + n; i++) {
      Element.setFloat(to, target, i, Element.f32(from, i) / scale);
    }
  }

  /** A part of memory that machine code may go through: it checks no bounds itself. */
  private static MemorySegment part(MemorySegment all, DType dtype, long index, long blocks) {
    int size = dtype.byteSize();
    return all.asSlice(index * size, blocks * BLOCK * size);
  }
}
