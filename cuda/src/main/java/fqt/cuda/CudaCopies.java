package fqt.cuda;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import jcuda.driver.JCudaDriver;

/** Copies between tensors of any strides and types on one GPU, and fills. */
final class CudaCopies {
  private static final String MODULE = "copies_sm80";
  private static final int RANK = 5;
  private static final int TILE = 32;
  private static final long MAX_TILES = 1024;

  private final Launcher launcher;

  CudaCopies(Launcher launcher) {
    this.launcher = launcher;
  }

  void copy(Tensor source, Tensor target) {
    if (source.count() == 0) {
      return;
    }
    Layout layout = Layout.of(source, target);
    boolean same = source.dtype() == target.dtype();
    if (same && layout.isOneRun()) {
      copyBytes(source, target);
    } else if (same && source.dtype().byteSize() == 4 && layout.isTransposed()) {
      transpose(source, target, layout);
    } else if (same) {
      long[] arguments = layout.after(address(source), address(target), source.count());
      run("copy_" + source.dtype().byteSize(), source.count(), arguments);
    } else {
      run(
          "copy_convert",
          source.count(),
          layout.after(
              address(source),
              Launcher.code(source.dtype()),
              address(target),
              Launcher.code(target.dtype()),
              source.count()));
    }
  }

  void fill(Tensor target, double value) {
    run(
        "fill",
        target.count(),
        Layout.of(target, target)
            .after(
                address(target),
                Launcher.code(target.dtype()),
                Launcher.bits((float) value),
                integer(value, target.dtype()),
                target.count()));
  }

  /** The integer that a fill value means: the nearest, ties to even; for BOOL whether it is 0. */
  private static long integer(double value, DType dtype) {
    if (dtype == DType.BOOL) {
      return value != 0 ? 1 : 0;
    }
    return (long) Math.rint(value);
  }

  private void copyBytes(Tensor source, Tensor target) {
    CudaContext context = launcher.context();
    context.wrote();
    context.bind();
    context.check(
        JCudaDriver.cuMemcpyDtoDAsync(
            new Handles.DevicePointer(address(target)),
            new Handles.DevicePointer(address(source)),
            source.byteSize(),
            context.stream().handle()),
        "copying " + source + " on " + context.device());
  }

  private void transpose(Tensor source, Tensor target, Layout layout) {
    long rows = layout.size[RANK - 2];
    long columns = layout.size[RANK - 1];
    launcher.run(
        MODULE,
        "transpose_4",
        Math.ceilDiv(rows, (long) TILE),
        Math.min(MAX_TILES, Math.ceilDiv(columns, (long) TILE)),
        Launcher.THREADS,
        0,
        address(source),
        address(target),
        rows,
        columns,
        layout.source[RANK - 1],
        layout.target[RANK - 2]);
  }

  private void run(String kernel, long elements, long... arguments) {
    launcher.run(MODULE, kernel, Launcher.blocks(elements), Launcher.THREADS, arguments);
  }

  private static long address(Tensor tensor) {
    return Launcher.address(tensor);
  }

  /**
   * Sizes and strides of two tensors of one shape, neighbouring dimensions joined where possible.
   */
  private static final class Layout {
    private final long[] size = new long[RANK];
    private final long[] source = new long[RANK];
    private final long[] target = new long[RANK];
    private int first = RANK;

    static Layout of(Tensor source, Tensor target) {
      Layout layout = new Layout();
      for (int i = source.rank() - 1; i >= 0; i--) {
        if (source.dim(i) != 1) {
          layout.addOutside(source.dim(i), source.stride(i), target.stride(i));
        }
      }
      if (layout.first == RANK) {
        layout.addOutside(1, 1, 1);
      }
      for (int i = 0; i < layout.first; i++) {
        layout.size[i] = 1;
      }
      return layout;
    }

    private void addOutside(long count, long from, long to) {
      boolean joins =
          first < RANK && from == source[first] * size[first] && to == target[first] * size[first];
      if (joins) {
        size[first] *= count;
        return;
      }
      if (first == 0) {
        throw new IllegalArgumentException(
            "a copy over more than " + RANK + " dimensions that cannot be joined");
      }
      first--;
      size[first] = count;
      source[first] = from;
      target[first] = to;
    }

    boolean isOneRun() {
      return first == RANK - 1 && source[first] == 1 && target[first] == 1;
    }

    boolean isTransposed() {
      return first == RANK - 2 && source[first] == 1 && target[RANK - 1] == 1;
    }

    /** The arguments of a kernel whose last parameter is the layout. */
    long[] after(long... others) {
      long[] all = new long[others.length + 3 * RANK];
      System.arraycopy(others, 0, all, 0, others.length);
      System.arraycopy(size, 0, all, others.length, RANK);
      System.arraycopy(source, 0, all, others.length + RANK, RANK);
      System.arraycopy(target, 0, all, others.length + 2 * RANK, RANK);
      return all;
    }
  }
}
