package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.cpu.asm.ExpKernel;
import fqt.tensor.cpu.asm.GateKernel;
import fqt.tensor.cpu.asm.RangeKernel;
import fqt.tensor.cpu.asm.Store;
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

  private static final long SUMS = VECTOR;
  private static final long FACTOR = 2 * VECTOR;
  private static final long REST = 3 * VECTOR;

  /** The state of a kernel, three vectors, and two more for the rest of a run. */
  private static final ThreadLocal<MemorySegment> SCRATCH =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(REST + 2 * VECTOR, VECTOR));

  /** Most numbers of a row that is written past the caches. */
  private static final int ROW = 1 << 18;

  /** Two rows of exponentials. */
  private static final ThreadLocal<MemorySegment> ROWS =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(2L * ROW * Float.BYTES, 64));

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
   * @param before a row whose weights are written as it is computed, or null
   * @return the sum: beside a 1 many small terms would be lost in F32
   */
  static double exp(
      ExpKernel kernel,
      MemorySegment x,
      long offset,
      float shift,
      MemorySegment out,
      long target,
      int n,
      Weights before) {
    MemorySegment state = SCRATCH.get();
    store(FloatVector.broadcast(Lanes.F, shift), state, 0);
    for (int i = 0; i < ExpKernel.SUMS; i++) {
      state.set(Element.DOUBLE, SUMS + (long) i * Double.BYTES, 0);
    }
    if (before != null) {
      store(FloatVector.broadcast(Lanes.F, before.factor), state, FACTOR);
    }
    long ahead = (long) n * Float.BYTES;
    int whole = Lanes.F.loopBound(n);
    int even = whole / BLOCK * BLOCK;
    for (int done = 0; done < whole; done = done < even ? even : whole) {
      int length = done < even ? even : whole - done;
      int vectors = Math.min(BLOCK, length) / LENGTH;
      int blocks = length / LENGTH / vectors;
      long at = (long) done * Float.BYTES;
      MemorySegment from = floats(x, offset + at, length);
      MemorySegment to = out == null ? null : floats(out, target + at, length);
      if (before == null) {
        kernel.weigh(blocks, vectors, from, ahead, state, to);
      } else {
        MemorySegment row = floats(before.row, at, length);
        MemorySegment weights = floats(before.out, at, length);
        kernel.weigh(blocks, vectors, from, ahead, state, to, row, weights);
      }
    }
    if (whole < n) {
      long at = (long) whole * Float.BYTES;
      MemorySegment rest = rest(state, 0, x, offset + at, n - whole, Float.NEGATIVE_INFINITY);
      kernel.weigh(1, 1, rest, 0, state, rest);
      if (out != null) {
        MemorySegment.copy(rest, 0, out, target + at, (long) (n - whole) * Float.BYTES);
      }
    }
    double sum = 0;
    for (int i = 0; i < ExpKernel.SUMS; i++) {
      sum += state.get(Element.DOUBLE, SUMS + (long) i * Double.BYTES);
    }
    return sum;
  }

  /**
   * A row of exponentials that become weights past the caches.
   *
   * @param row exponentials
   * @param factor what they are multiplied by
   * @param out at a multiple of {@link Store#ALIGNMENT}
   */
  record Weights(MemorySegment row, float factor, MemorySegment out) {}

  /** Multiplies a row of exponentials. */
  static void scale(
      ExpKernel kernel, MemorySegment row, float factor, MemorySegment out, int n, Store store) {
    MemorySegment state = SCRATCH.get();
    Element.f32(state, 0, factor);
    int whole = Lanes.F.loopBound(n);
    if (whole > 0) {
      kernel.scale(whole / LENGTH, floats(row, 0, whole), state, floats(out, 0, whole), store);
    }
    scaleRest(row, factor, out, n);
  }

  private static void scaleRest(MemorySegment row, float factor, MemorySegment out, int n) {
    for (int i = Lanes.F.loopBound(n); i < n; i++) {
      Element.f32(out, i, Element.f32(row, i) * factor);
    }
  }

  /** The rows of a softmax from one to another. */
  static void softmax(
      ExpKernel kernel, MemorySegment x, MemorySegment out, int n, long first, long end) {
    long bytes = (long) n * Float.BYTES;
    Weights before = null;
    long slot = 0;
    for (long m = first; m < end; m++) {
      long at = m * bytes;
      MemorySegment target = floats(out, at, n);
      float largest = max(kernel, x, at, n);
      if (n > ROW || Store.of(target.address(), out.byteSize()) == Store.NEAR) {
        double sum = exp(kernel, x, at, largest, target, 0, n, null);
        scale(kernel, target, (float) (1 / sum), target, n, Store.NEAR);
        continue;
      }
      // Written one row late, while the next one is computed: stores past the caches are slow.
      MemorySegment row = ROWS.get().asSlice(slot, bytes);
      slot = ROW * (long) Float.BYTES - slot;
      double sum = exp(kernel, x, at, largest, row, 0, n, before);
      if (before != null) {
        scaleRest(before.row, before.factor, before.out, n);
      }
      before = new Weights(row, (float) (1 / sum), target);
    }
    if (before != null) {
      scale(kernel, before.row, before.factor, before.out, n, Store.FAR);
    }
  }

  /** An activation of {@code n} numbers at one offset of all, times up unless that is null. */
  static void gate(
      GateKernel kernel, MemorySegment x, MemorySegment up, MemorySegment out, long offset, int n) {
    int whole = Lanes.F.loopBound(n);
    if (whole > 0) {
      MemorySegment factors = up == null ? null : floats(up, offset, whole);
      MemorySegment to = floats(out, offset, whole);
      Store store = Store.of(to.address(), out.byteSize());
      kernel.run(whole / LENGTH, floats(x, offset, whole), factors, to, store);
    }
    if (whole < n) {
      MemorySegment state = SCRATCH.get();
      long at = offset + (long) whole * Float.BYTES;
      MemorySegment rest = rest(state, 0, x, at, n - whole, 0);
      MemorySegment factors = up == null ? null : rest(state, 1, up, at, n - whole, 0);
      kernel.run(1, rest, factors, rest, Store.NEAR);
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
    MemorySegment run = floats(x, offset, whole);
    kernel.range(whole / RangeKernel.BLOCK, run, result, run.address() + run.byteSize());
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
    MemorySegment rest = scratch.asSlice(REST + place * VECTOR, VECTOR);
    store(FloatVector.broadcast(Lanes.F, fill), rest, 0);
    MemorySegment.copy(x, offset, rest, 0, (long) count * Float.BYTES);
    return rest;
  }
}
