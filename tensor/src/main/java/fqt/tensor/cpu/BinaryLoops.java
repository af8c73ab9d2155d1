package fqt.tensor.cpu;

import static fqt.tensor.cpu.Lanes.LENGTH;
import static fqt.tensor.cpu.Lanes.first;
import static fqt.tensor.cpu.Lanes.load;
import static fqt.tensor.cpu.Lanes.store;

import fqt.tensor.BinaryOp;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** The loops of the binary operations over runs of F32, one small loop each. */
final class BinaryLoops {
  private BinaryLoops() {}

  /** {@code out[0..n) = a[0..n) op b[0..n)}; a, b and out are byte offsets into their segments. */
  static void run(
      BinaryOp op,
      MemorySegment left,
      long a,
      MemorySegment right,
      long b,
      MemorySegment to,
      long out,
      int n) {
    switch (op) {
      case ADD -> add(left, a, right, b, to, out, n);
      case SUBTRACT -> sub(left, a, right, b, to, out, n);
      case MULTIPLY -> mul(left, a, right, b, to, out, n);
      case DIVIDE -> div(left, a, right, b, to, out, n);
      case MIN -> min(left, a, right, b, to, out, n);
      case MAX -> max(left, a, right, b, to, out, n);
    }
  }

  private static void add(
      MemorySegment left, long a, MemorySegment right, long b, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(left, a + at).add(load(right, b + at)), to, out + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(left, a + at, tail).add(load(right, b + at, tail));
      store(value, to, out + at, tail);
    }
  }

  private static void sub(
      MemorySegment left, long a, MemorySegment right, long b, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(left, a + at).sub(load(right, b + at)), to, out + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(left, a + at, tail).sub(load(right, b + at, tail));
      store(value, to, out + at, tail);
    }
  }

  private static void mul(
      MemorySegment left, long a, MemorySegment right, long b, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(left, a + at).mul(load(right, b + at)), to, out + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(left, a + at, tail).mul(load(right, b + at, tail));
      store(value, to, out + at, tail);
    }
  }

  private static void div(
      MemorySegment left, long a, MemorySegment right, long b, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(left, a + at).div(load(right, b + at)), to, out + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(left, a + at, tail).div(load(right, b + at, tail));
      store(value, to, out + at, tail);
    }
  }

  private static void min(
      MemorySegment left, long a, MemorySegment right, long b, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(left, a + at).min(load(right, b + at)), to, out + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(left, a + at, tail).min(load(right, b + at, tail));
      store(value, to, out + at, tail);
    }
  }

  private static void max(
      MemorySegment left, long a, MemorySegment right, long b, MemorySegment to, long out, int n) {
    int i = 0;
    for (; i <= n - LENGTH; i += LENGTH) {
      long at = (long) i * Float.BYTES;
      store(load(left, a + at).max(load(right, b + at)), to, out + at);
    }
    if (i < n) {
      long at = (long) i * Float.BYTES;
      VectorMask<Float> tail = first(n - i);
      FloatVector value = load(left, a + at, tail).max(load(right, b + at, tail));
      store(value, to, out + at, tail);
    }
  }
}
