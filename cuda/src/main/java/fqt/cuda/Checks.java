package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Tensor;

/** Checks of arguments, shared by the operations; each names the argument and both values. */
final class Checks {
  private Checks() {}

  static void require(boolean condition, String format, Object... values) {
    if (!condition) {
      throw new IllegalArgumentException(format.formatted(values));
    }
  }

  /** The address of a tensor's first element; the tensor must be on the device. */
  static long address(Tensor tensor, Device device, String name) {
    require(
        tensor.device().equals(device),
        "%s is %s on %s; expected it on %s",
        name,
        tensor,
        tensor.device(),
        device);
    return tensor.storage().address() + tensor.offset() * tensor.dtype().byteSize();
  }

  /** The address of a tensor without gaps between its elements. */
  static long contiguous(Tensor tensor, Device device, String name) {
    require(tensor.isContiguous(), "%s is %s with gaps; expected it contiguous", name, tensor);
    return address(tensor, device, name);
  }

  /** A matrix whose elements follow each other within a row, with its sizes below 2^31. */
  static void matrix(Tensor tensor, String name) {
    require(tensor.rank() == 2, "%s is %s; expected two dimensions", name, tensor);
    require(
        tensor.dim(0) <= Integer.MAX_VALUE && tensor.dim(1) <= Integer.MAX_VALUE,
        "%s is %s; expected sizes below 2^31",
        name,
        tensor);
    require(
        tensor.stride(1) == 1 || tensor.dim(1) == 1,
        "%s is %s with %d elements between columns; expected rows without gaps",
        name,
        tensor,
        tensor.stride(1));
  }

  /** Elements from one row to the next; the number of columns where there is only one row. */
  static long rowStride(Tensor matrix) {
    return matrix.dim(0) == 1 ? Math.max(matrix.dim(1), 1) : matrix.stride(0);
  }

  static void sameElements(Tensor source, Tensor target) {
    require(
        source.dtype() == target.dtype() && source.shape().equals(target.shape()),
        "cannot copy %s to %s: types or shapes differ",
        source,
        target);
    require(
        source.isContiguous() && target.isContiguous(),
        "cannot copy %s to %s: one of them has gaps",
        source,
        target);
  }

  /** The number that the kernels know a floating-point type by (OUT_* in gemm.cuh). */
  static int floatCode(DType dtype, String name) {
    return switch (dtype) {
      case BF16 -> 0;
      case F16 -> 1;
      case F32 -> 2;
      default ->
          throw new IllegalArgumentException(name + " is " + dtype + "; expected BF16, F16 or F32");
    };
  }
}
