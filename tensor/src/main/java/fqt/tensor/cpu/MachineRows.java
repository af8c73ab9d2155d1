package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.cpu.asm.ExpKernel;
import fqt.tensor.cpu.asm.GateKernel;
import fqt.tensor.cpu.asm.RangeKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Runs of F32 by machine code. Its kernels work on whole vectors; what is left of a run goes
 * through a vector of its own, so that no result depends on the place of its number.
 */
final class MachineRows {
  private static final long VECTOR = Lanes.F.vectorByteSize();

  /** Numbers whose sum is made in F32, a few dozen to each lane, before F64 takes over. */
  private static final int BLOCK = 64 * LENGTH;

  /** The state of a kernel, two vectors, and two more for the rest of a run. */
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(4 * VECTOR, VECTOR));

  private static final ThreadLocal<MemorySegment> RANGE =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(RangeKernel.RESULT_BYTES, 32));

  private MachineRows() {}

  /** The largest number, −∞ of none; if there is a NaN, that or another. */
  static float max(ExpKernel kernel, MemorySegment x, long offset, int n) {
    MemorySegment state = SCRATCH.get();
    int whole = Lanes.F.loopBound(n);
    store(FloatVector.broadcast(Lanes.F, Float.NEGATIVE_INFINITY), state, 0);
    if (whole > 0) {
      kernel.max(whole / LENGTH, floats(x, offset, whole), state);
    }
    float max = load(state, 0).reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < n; i++) {
      max = Math.max(max, x.get(Element.FLOAT, offset + (long) i * Float.BYTES));
    }
    return max;
  }

  /**
   * {@code out = e^(x − shift)} for x that are no larger than the shift; out may be null.
   *
   * @return the sum: beside a 1 many small terms would be lost in F32
   */
  static double exp(
      ExpKernel kernel, MemorySegment x, long offset, float shift, MemorySegment out, int n) {
    MemorySegment state = SCRATCH.get();
    store(FloatVector.broadcast(Lanes.F, shift), state, 0);
    long ahead = (long) n * Float.BYTES;
    int whole = Lanes.F.loopBound(n);
    double sum = 0;
    for (int i = 0; i < whole; i += BLOCK) {
      long at = offset + (long) i * Float.BYTES;
      store(FloatVector.zero(Lanes.F), state, VECTOR);
      int length = Math.min(BLOCK, whole - i);
      MemorySegment to = out == null ? null : floats(out, at, length);
      kernel.weigh(length / LENGTH, floats(x, at, length), ahead, state, to);
      sum += Lanes.sum(load(state, VECTOR));
    }
    if (whole < n) {
      long at = offset + (long) whole * Float.BYTES;
      MemorySegment rest = rest(state, 2, x, at, n - whole, Float.NEGATIVE_INFINITY);
      store(FloatVector.zero(Lanes.F), state, VECTOR);
      kernel.weigh(1, rest, 0, state, rest);
      sum += Lanes.sum(load(state, VECTOR));
      if (out != null) {
        MemorySegment.copy(rest, 0, out, at, (long) (n - whole) * Float.BYTES);
      }
    }
    return sum;
  }

  /** An activation of {@code n} numbers at one offset of all, times up unless that is null. */
  static void gate(
      GateKernel kernel, MemorySegment x, MemorySegment up, MemorySegment out, long offset, int n) {
    int whole = Lanes.F.loopBound(n);
    if (whole > 0) {
      MemorySegment factors = up == null ? null : floats(up, offset, whole);
      kernel.run(whole / LENGTH, floats(x, offset, whole), factors, floats(out, offset, whole));
    }
    if (whole < n) {
      MemorySegment state = SCRATCH.get();
      long at = offset + (long) whole * Float.BYTES;
      MemorySegment rest = rest(state, 2, x, at, n - whole, 0);
      MemorySegment factors = up == null ? null : rest(state, 3, up, at, n - whole, 0);
      kernel.run(1, rest, factors, rest);
      MemorySegment.copy(rest, 0, out, at, (long) (n - whole) * Float.BYTES);
    }
  }

  /** The range of a run, as {@link RowLoops#range} has it. */
  static RowLoops.Range range(RangeKernel kernel, MemorySegment x, long offset, int n) {
    int whole = n / RangeKernel.BLOCK * RangeKernel.BLOCK;
    if (whole == 0) {
      return RowLoops.range(x, offset, n);
    }
    MemorySegment result = RANGE.get();
    kernel.range(whole / RangeKernel.BLOCK, floats(x, offset, whole), result);
    float min = Float.POSITIVE_INFINITY;
    float max = Float.NEGATIVE_INFINITY;
    float flags = 0;
    for (int i = 0; i < 8; i++) {
      min = Math.min(min, result.getAtIndex(Element.FLOAT, i));
      max = Math.max(max, result.getAtIndex(Element.FLOAT, 8 + i));
      flags += result.getAtIndex(Element.FLOAT, 16 + i);
    }
    // The kernel does not tell the two zeros from each other.
    if (flags != 0 || min == 0 || max == 0) {
      return RowLoops.range(x, offset, n);
    }
    for (int i = whole; i < n; i++) {
      float value = x.get(Element.FLOAT, offset + (long) i * Float.BYTES);
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
    return new RowLoops.Range(min, max);
  }

  /** A part of memory that machine code may go through: it checks no bounds itself. */
  private static MemorySegment floats(MemorySegment all, long offset, int count) {
    return all.asSlice(offset, (long) count * Float.BYTES);
  }

  /** A vector of the scratch with the last numbers of a run, filled up. */
  private static MemorySegment rest(
      MemorySegment scratch, int place, MemorySegment x, long offset, int count, float fill) {
    MemorySegment rest = scratch.asSlice(place * VECTOR, VECTOR);
    store(FloatVector.broadcast(Lanes.F, fill), rest, 0);
    MemorySegment.copy(x, offset, rest, 0, (long) count * Float.BYTES);
    return rest;
  }
}
