package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** Rotary embedding: the two halves of each head are the coordinates of points that are turned. */
final class Rotary {
  private Rotary() {}

  static void rotary(Threads threads, Tensor x, Tensor cos, Tensor sin, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment cosines = cos.segment();
    MemorySegment sines = sin.segment();
    MemorySegment to = out.segment();
    long heads = x.dim(1);
    long size = x.dim(2);
    int half = Math.toIntExact(cos.dim(1));
    long rest = (size - 2L * half) * Float.BYTES;
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(heads * size),
        (first, end) -> {
          for (long m = first; m < end; m++) {
            for (long h = 0; h < heads; h++) {
              long at = (m * heads + h) * size * Float.BYTES;
              turn(from, at, cosines, sines, m * half * Float.BYTES, to, half);
              long passed = at + 2L * half * Float.BYTES;
              MemorySegment.copy(from, passed, to, passed, rest);
            }
          }
        });
  }

  private static void turn(
      MemorySegment x,
      long head,
      MemorySegment cos,
      MemorySegment sin,
      long row,
      MemorySegment out,
      int half) {
    long second = head + (long) half * Float.BYTES;
    int i = 0;
    for (; i <= half - Lanes.LENGTH; i += Lanes.LENGTH) {
      long at = (long) i * Float.BYTES;
      FloatVector c = Lanes.load(cos, row + at);
      FloatVector s = Lanes.load(sin, row + at);
      FloatVector a = Lanes.load(x, head + at);
      FloatVector b = Lanes.load(x, second + at);
      Lanes.store(a.mul(c).sub(b.mul(s)), out, head + at);
      Lanes.store(b.mul(c).add(a.mul(s)), out, second + at);
    }
    if (i < half) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = Lanes.first(half - i);
      FloatVector c = Lanes.load(cos, row + at, tail);
      FloatVector s = Lanes.load(sin, row + at, tail);
      FloatVector a = Lanes.load(x, head + at, tail);
      FloatVector b = Lanes.load(x, second + at, tail);
      Lanes.store(a.mul(c).sub(b.mul(s)), out, head + at, tail);
      Lanes.store(b.mul(c).add(a.mul(s)), out, second + at, tail);
    }
  }
}
