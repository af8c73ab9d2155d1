package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Scalar twin of the copy kernels: copies, conversions and fills, one element at a time. */
final class ScalarCopy {
  private ScalarCopy() {}

  static void copy(Tensor source, Tensor target) {
    MemorySegment from = source.storage().segment();
    MemorySegment to = target.storage().segment();
    boolean integers = !source.dtype().isFloat();
    long[] index = new long[source.rank()];
    for (long i = source.count(); i > 0; i--) {
      long a = position(source, index);
      long b = position(target, index);
      if (integers) {
        Element.setLong(to, target.dtype(), b, Element.getLong(from, source.dtype(), a));
      } else if (source.dtype() == target.dtype()) {
        copyBits(from, a, to, b, source.dtype());
      } else {
        Element.setFloat(to, target.dtype(), b, Element.getFloat(from, source.dtype(), a));
      }
      advance(index, source);
    }
  }

  static void fill(Tensor target, double value) {
    MemorySegment to = target.storage().segment();
    long[] index = new long[target.rank()];
    for (long i = target.count(); i > 0; i--) {
      if (target.dtype().isFloat()) {
        Element.setFloat(to, target.dtype(), position(target, index), (float) value);
      } else {
        Element.setLong(to, target.dtype(), position(target, index), toLong(value, target.dtype()));
      }
      advance(index, target);
    }
  }

  /** The integer that a fill value means: the nearest, ties to even; for BOOL whether it is 0. */
  static long toLong(double value, DType dtype) {
    if (dtype == DType.BOOL) {
      return value != 0 ? 1 : 0;
    }
    return (long) Math.rint(value);
  }

  private static void copyBits(MemorySegment from, long a, MemorySegment to, long b, DType dtype) {
    int size = dtype.byteSize();
    MemorySegment.copy(from, a * size, to, b * size, size);
  }

  private static long position(Tensor tensor, long[] index) {
    long at = tensor.offset();
    for (int i = 0; i < index.length; i++) {
      at += index[i] * tensor.stride(i);
    }
    return at;
  }

  private static void advance(long[] index, Tensor tensor) {
    for (int i = index.length - 1; i >= 0; i--) {
      if (++index[i] < tensor.dim(i)) {
        return;
      }
      index[i] = 0;
    }
  }
}
