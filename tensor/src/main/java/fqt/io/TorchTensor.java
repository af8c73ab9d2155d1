package fqt.io;

import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import java.util.Arrays;

/**
 * A tensor as a pickle describes it: a strided view of a storage.
 *
 * @param storage the bytes
 * @param format type of the elements
 * @param offset position of the first element, in elements
 * @param sizes of the dimensions
 * @param strides of the dimensions, in elements
 */
record TorchTensor(
    TorchStorage storage, TorchFormat format, long offset, long[] sizes, long[] strides) {
  /** Bounds what copying a view that repeats its elements can take. */
  private static final long MAX_REPEATED = 1L << 28;

  /**
   * The view itself.
   *
   * @throws FileFormatException if the type is not supported or the view leaves its storage
   */
  Tensor resolve(String source) {
    if (format.dtype() == null) {
      throw new FileFormatException(
          "%s: a tensor of shape %s is of type %s, which is not supported"
              .formatted(source, Arrays.toString(sizes), format.name()));
    }
    try {
      Shape shape = Shape.of(sizes);
      if (shape.count() > Math.max(MAX_REPEATED, storage.byteSize())) {
        throw new IllegalArgumentException(
            "a view of %d elements repeats a storage of %d bytes too often"
                .formatted(shape.count(), storage.byteSize()));
      }
      return Tensor.strided(storage.bytes(source), format.dtype(), shape, strides, offset);
    } catch (IllegalArgumentException e) {
      throw new FileFormatException(source + ": " + e.getMessage(), e);
    }
  }
}
