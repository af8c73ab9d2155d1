package fqt.quant.format;

import fqt.io.TensorSource;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.Arrays;

/** What several formats do alike. */
final class Packing {
  private Packing() {}

  /** The group of each input when neighbours are grouped, I32 [inputs]. */
  static Tensor neighbours(Device device, long inputs, long groupSize) {
    int[] index = new int[Math.toIntExact(inputs)];
    Arrays.setAll(index, i -> (int) (i / groupSize));
    return Ops.to(Ops.of(index, inputs), device);
  }

  /** The group index, or null where it only says that neighbours are grouped. */
  static Tensor unlessNeighbours(Tensor groupIndex, long groupSize) {
    long[] index = Ops.to(groupIndex, Device.CPU).toLongs();
    for (int i = 0; i < index.length; i++) {
      if (index[i] != i / groupSize) {
        return Ops.copy(groupIndex);
      }
    }
    return null;
  }

  /** The chosen rows of U8 codes. */
  static Tensor rows(Tensor codes, int[] index) {
    Tensor chosen =
        Ops.gatherRows(
            Ops.to(codes, DType.F32), Ops.to(Ops.of(index, index.length), codes.device()));
    return Ops.to(chosen, DType.U8);
  }

  /** Zero points, or null where all are the middle of the range. */
  static Tensor unlessMiddle(Tensor zeros, int bits) {
    long middle = 1L << (bits - 1);
    long[] points = Ops.to(Ops.contiguous(zeros), Device.CPU).toLongs();
    return Arrays.stream(points).allMatch(zero -> zero == middle) ? null : zeros;
  }

  /**
   * Checks a tensor of a checkpoint.
   *
   * @throws IllegalArgumentException if type or shape is another
   */
  static Tensor require(String name, Tensor tensor, DType dtype, long... dims) {
    if (tensor.dtype() != dtype || !tensor.shape().equals(Shape.of(dims))) {
      throw new IllegalArgumentException(
          "%s is %s; expected %s%s".formatted(name, tensor, dtype, Shape.of(dims)));
    }
    return tensor;
  }

  /** The bias of a linear, or null. */
  static Tensor bias(String prefix, TensorSource tensors, long outputs) {
    String name = prefix + ".bias";
    return tensors.has(name) ? requireFloat(name, tensors.get(name), outputs) : null;
  }

  /** Checks a tensor that may have any float type. */
  static Tensor requireFloat(String name, Tensor tensor, long... dims) {
    return require(name, tensor, tensor.dtype().isFloat() ? tensor.dtype() : DType.F32, dims);
  }
}
