package fqt.models;

import fqt.nn.Module;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;

/** Notes what the builders of a model ask for, and gives them shapes without contents. */
final class WantedTensors implements Weights {
  private final MemorySegment nothing = Arena.ofAuto().allocate(DType.BF16.byteSize());
  private final Map<String, Shape> shapes = new LinkedHashMap<>();

  /** Shapes by name, in the order in which they were asked for. */
  Map<String, Shape> shapes() {
    return shapes;
  }

  /** What a checkpoint may have besides, this one does not have. */
  @Override
  public boolean has(String name) {
    return false;
  }

  /**
   * Every element of a matrix is the same one; kernels of a convolution are small, but reshaped.
   */
  @Override
  public Tensor tensor(String name, long... shape) {
    Shape asked = Shape.of(shape);
    shapes.put(name, asked);
    return asked.rank() > 2
        ? Ops.empty(Device.CPU, DType.BF16, shape)
        : Tensor.strided(nothing, DType.BF16, asked, new long[shape.length], 0);
  }

  @Override
  public Module linear(String prefix, long inputs, long outputs, boolean bias) {
    tensor(prefix + ".weight", outputs, inputs);
    if (bias) {
      tensor(prefix + ".bias", outputs);
    }
    return new Inventory.Unread();
  }
}
