package fqt.tensor.cpu;

import fqt.tensor.cpu.asm.CodeKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Codes of a byte by machine code, a row of groups at a time. */
final class MachineCodes {
  private static final ThreadLocal<MemorySegment> PARAMETERS =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(CodeKernel.PARAMETER_BYTES, 32));

  /** What is read where there are no zero points. */
  private static final MemorySegment NO_ZERO = Arena.ofAuto().allocate(Float.BYTES).asReadOnly();

  private final CodeKernel kernel;
  private final long size;
  private final MemorySegment scale;
  private final MemorySegment zero;
  private final long zeroStep;

  /**
   * Groups of {@code size} numbers, whole blocks of the kernel.
   *
   * @param zero may be null
   */
  MachineCodes(CodeKernel kernel, long size, MemorySegment scale, MemorySegment zero) {
    this.kernel = kernel;
    this.size = size;
    this.scale = scale;
    this.zero = zero == null ? NO_ZERO : zero;
    this.zeroStep = zero == null ? 0 : Float.BYTES;
  }

  /** What is asked for while a row is quantized. */
  enum Ahead {
    /** As much as is read, some way ahead. */
    NEAR,
    /** The second half of the next row: the search for the largest number asks for the first. */
    HALF_A_ROW;

    /** Where that begins. */
    long of(MemorySegment row) {
      long size = row.byteSize();
      return row.address() + (this == NEAR ? CodeKernel.AHEAD : size + size / 2);
    }

    /** Bytes of it for 64 of the row. */
    long lines() {
      return this == NEAR ? 64 : 32;
    }
  }

  /** What is done to a row of neighbouring groups. */
  interface RowStep {
    /** Element {@code index} is the first, {@code group} the group that it belongs to. */
    void run(long index, long groups, long group);
  }

  /** Numbers to codes; the other makes them again where there is a NaN. */
  RowStep quantizing(ByteCodes other, MemorySegment from, MemorySegment to, Ahead ahead) {
    return (index, groups, group) -> {
      MemorySegment parameters = PARAMETERS.get();
      CodeKernel.prepare(parameters, other.low(), other.high());
      MemorySegment x = from.asSlice(index * Float.BYTES, groups * size * Float.BYTES);
      MemorySegment codes = to.asSlice(index, groups * size);
      MemorySegment scales = scales(group, groups);
      MemorySegment zeros = zeros(group, groups);
      long blocks = size / CodeKernel.BLOCK;
      if (kernel.quantize(
          groups,
          blocks,
          x,
          codes,
          scales,
          zeros,
          zeroStep,
          parameters,
          ahead.of(x),
          ahead.lines())) {
        return;
      }
      for (long i = 0; i < groups; i++) {
        float offset = Element.f32(zeros, zeroStep == 0 ? 0 : i);
        other.quantize(index + i * size, (int) size, Element.f32(scales, i), offset);
      }
    };
  }

  /** Codes to numbers. */
  RowStep dequantizing(MemorySegment from, MemorySegment to) {
    return (index, groups, group) -> {
      MemorySegment codes = from.asSlice(index, groups * size);
      MemorySegment out = to.asSlice(index * Float.BYTES, groups * size * Float.BYTES);
      MemorySegment scales = scales(group, groups);
      MemorySegment zeros = zeros(group, groups);
      kernel.dequantize(groups, size / CodeKernel.BLOCK, codes, out, scales, zeros, zeroStep);
    };
  }

  private MemorySegment scales(long group, long groups) {
    return scale.asSlice(group * Float.BYTES, groups * Float.BYTES);
  }

  private MemorySegment zeros(long group, long groups) {
    return zeroStep == 0 ? zero : zero.asSlice(group * zeroStep, groups * zeroStep);
  }
}
