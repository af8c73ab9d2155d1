package fqt.tensor;

/** What {@link Ops} demands of its operands; each check throws one sentence with the values. */
final class Checks {
  private Checks() {}

  static void requireBlocks(Tensor x, Blocks blocks, Tensor scale, Tensor zero) {
    requireMatrix("x", x);
    Shape shape = blocks.scaleShape(x.dim(0), x.dim(1));
    requireType("scale", scale, DType.F32);
    requireShape("scale", scale, shape);
    if (zero != null) {
      requireType("zero", zero, DType.F32);
      requireShape("zero", zero, shape);
    }
  }

  static void requireIndex(Tensor index) {
    requireType("index", index, DType.I32);
    if (index.rank() != 1) {
      throw new IllegalArgumentException("index is " + index + "; expected rank 1");
    }
  }

  static void requireMatrix(String name, Tensor x) {
    if (x.rank() != 2) {
      throw new IllegalArgumentException(name + " is " + x + "; expected a matrix");
    }
  }

  static void requireSquare(String name, Tensor x) {
    requireMatrix(name, x);
    requireType(name, x, DType.F32);
    if (x.dim(0) != x.dim(1) || !x.isContiguous()) {
      throw new IllegalArgumentException(name + " is " + x + "; expected a contiguous square");
    }
  }

  static void requireNotEmpty(String name, Tensor x) {
    if (x.count() == 0) {
      throw new IllegalArgumentException(name + " is " + x + "; expected at least one element");
    }
  }

  static void requireFloat(String name, Tensor x) {
    if (!x.dtype().isFloat()) {
      throw new IllegalArgumentException(name + " is " + x + "; expected a float type");
    }
  }

  static void requireType(String name, Tensor x, DType dtype) {
    if (x.dtype() != dtype) {
      throw new IllegalArgumentException(name + " is " + x + "; expected type " + dtype);
    }
  }

  static void requireShape(String name, Tensor x, Shape shape) {
    if (!x.shape().equals(shape)) {
      throw new IllegalArgumentException(name + " is " + x + "; expected shape " + shape);
    }
  }

  static void requireCount(Tensor tensor, long count) {
    if (tensor.count() != count) {
      throw new IllegalArgumentException(count + " values for " + tensor);
    }
  }
}
