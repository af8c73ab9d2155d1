package fqt.tensor.cpu;

import fqt.tensor.Blocks;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.RangeKernel;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Smallest and largest element of each block of a matrix. Threads share out the rows of blocks, or,
 * where a block is tall, slices of it whose ranges are joined afterwards.
 */
final class BlockRange {
  private static final long SLICE = 64;

  private final RangeKernel kernel;
  private final Tensor x;
  private final MemorySegment from;
  private final long height;
  private final long width;
  private final int wide;
  private final long slices;
  private final float[][] min;
  private final float[][] max;

  private BlockRange(RangeKernel kernel, Tensor x, Blocks blocks) {
    this.kernel = kernel;
    this.x = x;
    this.from = x.segment();
    this.height = blocks.rowsOf(x.dim(0));
    this.width = blocks.columnsOf(x.dim(1));
    this.wide = Math.toIntExact(Math.ceilDiv(x.dim(1), width));
    this.slices = Math.ceilDiv(height, SLICE);
    int count = Math.toIntExact(Math.ceilDiv(x.dim(0), height) * slices);
    this.min = new float[count][];
    this.max = new float[count][];
  }

  static void blockRange(
      Threads threads, RowKernels kernels, Tensor x, Blocks blocks, Tensor min, Tensor max) {
    RangeKernel kernel = kernels == null ? null : kernels.range();
    BlockRange ranges = new BlockRange(kernel, x, blocks);
    long grain = Math.max(1, Pointwise.rowsAtOnce(x.dim(1)) / Math.min(SLICE, ranges.height));
    threads.forEach(
        ranges.min.length,
        grain,
        (first, end) -> {
          for (long i = first; i < end; i++) {
            ranges.slice((int) i);
          }
        });
    ranges.join(min.segment(), max.segment());
  }

  private void slice(int index) {
    float[] smallest = new float[wide];
    float[] largest = new float[wide];
    Arrays.fill(smallest, Float.POSITIVE_INFINITY);
    Arrays.fill(largest, Float.NEGATIVE_INFINITY);
    long top = index / slices * height;
    long bottom = Math.min(top + height, x.dim(0));
    long first = Math.min(bottom, top + index % slices * SLICE);
    long end = Math.min(bottom, first + SLICE);
    for (long m = first; m < end; m++) {
      row(m * x.dim(1), smallest, largest);
    }
    min[index] = smallest;
    max[index] = largest;
  }

  private void row(long start, float[] smallest, float[] largest) {
    if (width == 1) {
      Columns.minRow(from, start * Float.BYTES, wide, smallest);
      Columns.maxRow(from, start * Float.BYTES, wide, largest);
      return;
    }
    for (int b = 0; b < wide; b++) {
      long offset = (start + b * width) * Float.BYTES;
      int n = (int) Math.min(width, x.dim(1) - b * width);
      RowLoops.Range range =
          kernel == null
              ? RowLoops.range(from, offset, n)
              : MachineRows.range(kernel, from, offset, n);
      smallest[b] = Math.min(smallest[b], range.min());
      largest[b] = Math.max(largest[b], range.max());
    }
  }

  private void join(MemorySegment smallest, MemorySegment largest) {
    for (int i = 0; i < min.length; i++) {
      long at = i / slices * wide;
      for (int b = 0; b < wide; b++) {
        boolean start = i % slices == 0;
        float low = start ? min[i][b] : Math.min(Element.f32(smallest, at + b), min[i][b]);
        float high = start ? max[i][b] : Math.max(Element.f32(largest, at + b), max[i][b]);
        Element.f32(smallest, at + b, low);
        Element.f32(largest, at + b, high);
      }
    }
  }
}
