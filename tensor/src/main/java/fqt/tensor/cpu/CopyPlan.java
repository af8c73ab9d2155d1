package fqt.tensor.cpu;

import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * How to walk two tensors of one shape: dimensions of size 1 dropped, those that continue each
 * other in both tensors merged, the others in the order of the target's strides, largest first.
 *
 * @param axes outermost first; empty for a single element
 */
record CopyPlan(List<Axis> axes) {
  /** One dimension: its size and the step, in elements, that it makes in either tensor. */
  record Axis(long size, long from, long to) {}

  static CopyPlan of(Tensor source, Tensor target) {
    List<Axis> axes = new ArrayList<>();
    for (int i = 0; i < source.rank(); i++) {
      if (source.dim(i) != 1) {
        axes.add(new Axis(source.dim(i), source.stride(i), target.stride(i)));
      }
    }
    axes.sort(Comparator.comparingLong(Axis::to).reversed());
    for (int i = axes.size() - 2; i >= 0; i--) {
      Axis outer = axes.get(i);
      Axis inner = axes.get(i + 1);
      if (outer.from() == inner.size() * inner.from() && outer.to() == inner.size() * inner.to()) {
        axes.set(i, new Axis(outer.size() * inner.size(), inner.from(), inner.to()));
        axes.remove(i + 1);
      }
    }
    return new CopyPlan(List.copyOf(axes));
  }

  /** The innermost axis; of one element if there is none. */
  Axis inner() {
    return axes.isEmpty() ? new Axis(1, 1, 1) : axes.getLast();
  }

  /** The axis other than the innermost along which the source is contiguous, or −1. */
  int sourceRun() {
    for (int i = 0; i < axes.size() - 1; i++) {
      if (axes.get(i).from() == 1) {
        return i;
      }
    }
    return -1;
  }

  /** Where step {@code index} of a walk over some of the axes is, from the first element. */
  long position(int[] outer, long index, boolean source) {
    long at = 0;
    long rest = index;
    for (int i = outer.length - 1; i >= 0; i--) {
      Axis axis = axes.get(outer[i]);
      at += rest % axis.size() * (source ? axis.from() : axis.to());
      rest /= axis.size();
    }
    return at;
  }
}
