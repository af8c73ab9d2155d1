package fqt.quant;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Tensor;

/** Reads and makes small tensors, of any device, through arrays. */
final class Host {
  private Host() {}

  /** The elements of a float tensor. */
  static float[] floats(Tensor x) {
    return Ops.to(Ops.to(Ops.contiguous(x), DType.F32), Device.CPU).toFloats();
  }

  /** Σ x over all elements of a vector, in F64. */
  static double sum(Tensor x) {
    double sum = 0;
    for (float value : floats(x)) {
      sum += value;
    }
    return sum;
  }

  /** An F32 tensor of the given values. */
  static Tensor tensor(Device device, float[] values, long... dims) {
    return Ops.to(Ops.of(values, dims), device);
  }

  /** An I32 vector of the given values. */
  static Tensor index(Device device, int[] values) {
    return Ops.to(Ops.of(values, values.length), device);
  }
}
