package fqt.tensor;

import java.util.Arrays;

/** The sizes of a tensor's dimensions, outermost first. A scalar has rank 0 and one element. */
public final class Shape {
  private final long[] dims;
  private final long count;

  private Shape(long[] dims) {
    long product = 1;
    for (long dim : dims) {
      if (dim < 0) {
        throw new IllegalArgumentException("negative dimension in shape " + Arrays.toString(dims));
      }
      try {
        product = Math.multiplyExact(product, dim);
      } catch (ArithmeticException overflow) {
        throw new IllegalArgumentException(
            "shape " + Arrays.toString(dims) + " has more than 2^63 - 1 elements", overflow);
      }
    }
    this.dims = dims;
    this.count = product;
  }

  /**
   * {@return a shape of the given sizes}
   *
   * @param dims sizes, outermost first, none negative; none at all for a scalar
   * @throws IllegalArgumentException if a size is negative or the element count overflows
   */
  public static Shape of(long... dims) {
    return new Shape(dims.clone());
  }

  /** {@return the number of dimensions} */
  public int rank() {
    return dims.length;
  }

  /** {@return the number of elements} */
  public long count() {
    return count;
  }

  /**
   * {@return the size of one dimension; negative indices count from the last}
   *
   * @param index from 0, or from −1 backwards
   * @throws IndexOutOfBoundsException if there is no such dimension
   */
  public long dim(int index) {
    return dims[axis(index)];
  }

  /**
   * {@return the index, counted from the first dimension, that a possibly negative index names}
   *
   * @param index from 0, or from −1 backwards
   * @throws IndexOutOfBoundsException if there is no such dimension
   */
  public int axis(int index) {
    int axis = index < 0 ? index + dims.length : index;
    if (axis < 0 || axis >= dims.length) {
      throw new IndexOutOfBoundsException("no dimension " + index + " in shape " + this);
    }
    return axis;
  }

  /** {@return the sizes, as a fresh array} */
  public long[] toArray() {
    return dims.clone();
  }

  /** {@return the strides, in elements, of a contiguous row-major tensor of this shape} */
  public long[] contiguousStrides() {
    long[] strides = new long[dims.length];
    long step = 1;
    for (int i = dims.length - 1; i >= 0; i--) {
      strides[i] = step;
      step *= Math.max(1, dims[i]);
    }
    return strides;
  }

  /**
   * {@return this shape with one dimension replaced}
   *
   * @param index which dimension; negative indices count from the last
   * @param size its new size, not negative
   */
  public Shape with(int index, long size) {
    long[] changed = dims.clone();
    changed[axis(index)] = size;
    return new Shape(changed);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  @Override
  public String toString() {
    return Arrays.toString(dims);
  }
}
