package fqt.tensor.cpu;

import fqt.tensor.Axis;
import fqt.tensor.ReduceOp;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.ExpKernel;
import java.lang.foreign.MemorySegment;

/** Operations on each row of a matrix; rows are shared out over the threads. */
final class Rows {
  private Rows() {}

  static void rmsNorm(
      Threads threads, RowKernels kernels, Tensor x, Tensor weight, float eps, Tensor out) {
    if (kernels != null) {
      norms(threads, x, new MachineNorms(kernels.norms(), x, weight, null, eps, out));
      return;
    }
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    float[] scale = floats(weight);
    int columns = scale.length;
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          for (long m = first; m < end; m++) {
            long at = m * columns * Float.BYTES;
            double mean = RowLoops.sum(from, at, columns, false, true) / columns;
            RowLoops.scale(from, at, (float) (1 / Math.sqrt(mean + eps)), scale, to, columns);
          }
        });
  }

  private static void norms(Threads threads, Tensor x, MachineNorms norms) {
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(x.dim(1)),
        (first, end) -> {
          for (long m = first; m < end; m++) {
            norms.row(m);
          }
        });
  }

  static void layerNorm(
      Threads threads,
      RowKernels kernels,
      Tensor x,
      Tensor weight,
      Tensor bias,
      float eps,
      Tensor out) {
    if (kernels != null) {
      norms(threads, x, new MachineNorms(kernels.norms(), x, weight, bias, eps, out));
      return;
    }
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    float[] scale = floats(weight);
    float[] shift = floats(bias);
    int columns = scale.length;
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          for (long m = first; m < end; m++) {
            long at = m * columns * Float.BYTES;
            double mean = RowLoops.sum(from, at, columns, false, false) / columns;
            double variance = RowLoops.squaredDistance(from, at, columns, mean) / columns;
            float factor = (float) (1 / Math.sqrt(variance + eps));
            RowLoops.normalize(from, at, (float) mean, factor, scale, shift, to, columns);
          }
        });
  }

  /** What finds the largest number of a row, and takes exponentials of the distances from it. */
  private interface Exponentials {
    float max(long offset, int n);

    double exp(long offset, float shift, MemorySegment out, int n);
  }

  private static Exponentials exponentials(RowKernels kernels, MemorySegment x) {
    if (kernels == null) {
      return new VectorExponentials(x, new float[Carrier.CAPACITY]);
    }
    return new MachineExponentials(kernels.exp(), x);
  }

  private record VectorExponentials(MemorySegment x, float[] buffer) implements Exponentials {
    @Override
    public float max(long offset, int n) {
      return RowLoops.max(x, offset, n);
    }

    @Override
    public double exp(long offset, float shift, MemorySegment out, int n) {
      return RowLoops.exp(x, offset, shift, out, n, buffer);
    }
  }

  private record MachineExponentials(ExpKernel kernel, MemorySegment x) implements Exponentials {
    @Override
    public float max(long offset, int n) {
      return MachineRows.max(kernel, x, offset, n);
    }

    @Override
    public double exp(long offset, float shift, MemorySegment out, int n) {
      return MachineRows.exp(kernel, x, offset, shift, out, offset, n, null);
    }
  }

  static void softmax(Threads threads, RowKernels kernels, Tensor x, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    int columns = Math.toIntExact(x.dim(1));
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          if (kernels != null) {
            MachineRows.softmax(kernels.exp(), from, to, columns, first, end);
            return;
          }
          Exponentials row = exponentials(null, from);
          for (long m = first; m < end; m++) {
            long at = m * columns * Float.BYTES;
            float largest = row.max(at, columns);
            double sum = row.exp(at, largest, to, columns);
            RowLoops.scale(to, at, (float) (1 / sum), columns);
          }
        });
  }

  static void crossEntropy(
      Threads threads, RowKernels kernels, Tensor x, Tensor target, Tensor out) {
    MemorySegment from = x.segment();
    MemorySegment targets = target.segment();
    MemorySegment to = out.segment();
    int columns = Math.toIntExact(x.dim(1));
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          Exponentials row = exponentials(kernels, from);
          for (long m = first; m < end; m++) {
            int wanted = ScalarRows.index(targets, m, columns);
            long at = m * columns * Float.BYTES;
            float largest = row.max(at, columns);
            double sum = row.exp(at, largest, null, columns);
            double score = Element.f32(from, m * columns + wanted);
            Element.f32(to, m, (float) (Math.log(sum) + largest - score));
          }
        });
  }

  static void reduce(Threads threads, ReduceOp op, Axis axis, Tensor x, Tensor out) {
    if (axis == Axis.COLUMNS) {
      Columns.reduce(threads, op, x, out);
      return;
    }
    MemorySegment from = x.segment();
    MemorySegment to = out.segment();
    int columns = Math.toIntExact(x.dim(1));
    threads.forEach(
        x.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          for (long m = first; m < end; m++) {
            Element.f32(to, m, (float) reduce(op, from, m * columns * Float.BYTES, columns));
          }
        });
  }

  private static double reduce(ReduceOp op, MemorySegment x, long offset, int n) {
    return switch (op) {
      case SUM -> RowLoops.sum(x, offset, n, false, false);
      case MEAN -> RowLoops.sum(x, offset, n, false, false) / n;
      case MEAN_ABS -> RowLoops.sum(x, offset, n, true, false) / n;
      case SUM_SQUARES -> RowLoops.sum(x, offset, n, false, true);
      case MIN -> RowLoops.range(x, offset, n).min();
      case MAX -> RowLoops.range(x, offset, n).max();
      case MAX_ABS -> RowLoops.maxAbs(x, offset, n);
    };
  }

  static void gatherRows(Threads threads, Tensor table, Tensor index, Tensor out) {
    MemorySegment from = table.segment();
    MemorySegment indices = index.segment();
    MemorySegment to = out.segment();
    long columns = table.dim(1);
    threads.forEach(
        index.dim(0),
        Pointwise.rowsAtOnce(columns),
        (first, end) -> {
          Carrier carrier = new Carrier();
          for (long m = first; m < end; m++) {
            long row = ScalarRows.index(indices, m, table.dim(0)) * columns;
            for (long k = 0; k < columns; k += Carrier.CAPACITY) {
              int n = (int) Math.min(Carrier.CAPACITY, columns - k);
              carrier.convert(from, table.dtype(), row + k, to, out.dtype(), m * columns + k, n);
            }
          }
        });
  }

  /** Threads share out the columns, so that each sum is made in the order of the rows. */
  static void scatterAddRows(
      Threads threads, Tensor rows, Tensor index, Tensor weight, Tensor out) {
    MemorySegment from = rows.segment();
    MemorySegment indices = index.segment();
    MemorySegment to = out.segment();
    MemorySegment weights = weight == null ? null : weight.segment();
    long columns = rows.dim(1);
    threads.forEach(
        columns,
        Columns.STRIP,
        (first, end) -> {
          for (long m = 0; m < rows.dim(0); m++) {
            float factor = weights == null ? 1 : Element.f32(weights, m);
            long source = (m * columns + first) * Float.BYTES;
            long row = ScalarRows.index(indices, m, out.dim(0));
            long target = (row * columns + first) * Float.BYTES;
            RowLoops.addScaled(from, source, factor, to, target, (int) (end - first));
          }
        });
  }

  /** A vector of any float type as F32. */
  static float[] floats(Tensor x) {
    if (!x.isContiguous()) {
      return ScalarRows.floats(x);
    }
    float[] values = new float[Math.toIntExact(x.count())];
    MemorySegment from = x.segment();
    Carrier carrier = new Carrier();
    for (int i = 0; i < values.length; i += Carrier.CAPACITY) {
      int n = Math.min(Carrier.CAPACITY, values.length - i);
      carrier.readFloats(from, x.dtype(), i, n);
      System.arraycopy(carrier.floats, 0, values, i, n);
    }
    return values;
  }
}
