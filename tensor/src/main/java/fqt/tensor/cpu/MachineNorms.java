package fqt.tensor.cpu;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.NormKernel;
import fqt.tensor.cpu.asm.Store;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Normalization of rows by machine code. The variance is the mean square of the distances from the
 * first number of the row, less the square of their mean, in F64: one pass over the row, and no
 * digit that F32 has is lost while the row's numbers differ in that digit.
 */
final class MachineNorms {
  private static final ThreadLocal<MemorySegment> STATE =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(NormKernel.STATE_BYTES, 64));

  private final NormKernel kernel;
  private final MemorySegment from;
  private final MemorySegment to;
  private final MemorySegment weight;
  private final MemorySegment bias;
  private final float eps;
  private final int columns;
  private final int whole;

  /** Layer norm, or, with a bias that is null, RMS norm. */
  MachineNorms(NormKernel kernel, Tensor x, Tensor weight, Tensor bias, float eps, Tensor out) {
    this.kernel = kernel;
    this.from = x.segment();
    this.to = out.segment();
    this.weight = floats(weight);
    this.bias = bias == null ? null : floats(bias);
    this.eps = eps;
    this.columns = Math.toIntExact(weight.count());
    this.whole = columns / NormKernel.BLOCK * NormKernel.BLOCK;
  }

  private static MemorySegment floats(Tensor tensor) {
    if (tensor.dtype() == DType.F32 && tensor.isContiguous()) {
      return tensor.segment();
    }
    float[] values = Rows.floats(tensor);
    MemorySegment copy = Arena.ofAuto().allocate((long) values.length * Float.BYTES, 64);
    MemorySegment.copy(values, 0, copy, Element.FLOAT, 0, values.length);
    return copy;
  }

  /** Normalizes one row. */
  void row(long m) {
    long at = m * columns * Float.BYTES;
    MemorySegment state = STATE.get();
    double shift = bias == null ? 0 : from.get(Element.FLOAT, at);
    sums(at, shift, state);
    double sum = four(state, 1) + four(state, 2);
    double squares = four(state, 3) + four(state, 4);
    for (int i = whole; i < columns; i++) {
      double distance = from.get(Element.FLOAT, at + (long) i * Float.BYTES) - shift;
      sum += distance;
      squares += distance * distance;
    }
    double mean = bias == null ? 0 : sum / columns;
    double variance = squares / columns - mean * mean;
    // Not Math.max with 0: NaN has to show.
    double factor = 1 / Math.sqrt((variance < 0 ? 0 : variance) + eps);
    normalize(at, (float) (shift + mean), (float) factor, state);
  }

  private void sums(long at, double shift, MemorySegment state) {
    for (int i = 0; i < NormKernel.STATE_BYTES / Double.BYTES; i++) {
      state.setAtIndex(ValueLayout.JAVA_DOUBLE, i, i < 4 ? shift : 0);
    }
    if (whole > 0) {
      // What is written past the caches needs no fetching; then the row itself is named.
      MemorySegment next = store(at) == Store.FAR ? from : to;
      kernel.sums(bias != null, whole / NormKernel.BLOCK, run(from, at), state, run(next, at));
    }
  }

  /** The lanes of one vector of the state, in one order. */
  private static double four(MemorySegment state, int vector) {
    double sum = 0;
    for (int i = 4 * vector; i < 4 * vector + 4; i++) {
      sum += state.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
    }
    return sum;
  }

  private void normalize(long at, float mean, float factor, MemorySegment parameters) {
    parameters.set(Element.FLOAT, 0, mean);
    parameters.set(Element.FLOAT, Float.BYTES, factor);
    if (whole > 0) {
      kernel.normalize(
          whole / NormKernel.BLOCK,
          run(from, at),
          parameters,
          weight,
          bias,
          run(to, at),
          store(at));
    }
    for (int i = whole; i < columns; i++) {
      long place = at + (long) i * Float.BYTES;
      float x = from.get(Element.FLOAT, place);
      float w = weight.getAtIndex(Element.FLOAT, i);
      float value =
          bias == null
              ? x * factor * w
              : Math.fma((x - mean) * factor, w, bias.getAtIndex(Element.FLOAT, i));
      to.set(Element.FLOAT, place, value);
    }
  }

  private Store store(long at) {
    return Store.of(to.address() + at, to.byteSize());
  }

  /** What machine code may go through: it checks no bounds itself. */
  private MemorySegment run(MemorySegment all, long at) {
    return all.asSlice(at, (long) whole * Float.BYTES);
  }
}
