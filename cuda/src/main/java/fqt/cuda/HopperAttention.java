package fqt.cuda;

import static fqt.cuda.Launcher.address;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.AttentionMask;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * Attention of many queries on Hopper, by wgmma with keys and values from tensor maps
 * (attention_sm90a.cu). Queries, keys and values are rounded to bfloat16, sums are float32.
 */
final class HopperAttention {
  private static final String MODULE = "attention_sm90a";
  private static final int HOPPER_CAPABILITY = 90;
  private static final int[] HEAD_SIZES = {64, 80, 128};
  private static final int THREADS = 384;

  /** Queries, and keys, of a tile. */
  private static final int TILE = 128;

  private static final int PLANE_BYTES = TILE * GemmPlan.STEP_BYTES;
  private static final int STAGES = 2;
  private static final int ELEMENTS_OF_THREAD = 8;

  private final Launcher launcher;
  private final AttentionTiles tiles;

  HopperAttention(Launcher launcher) {
    this.launcher = launcher;
    tiles = new AttentionTiles(launcher.context(), TILE);
  }

  /** Whether the kernels take such heads, and the GPU the kernels. */
  boolean takes(Tensor q, Tensor k) {
    return launcher.context().capability() == HOPPER_CAPABILITY
        && q.dim(2) <= HEAD_SIZES[HEAD_SIZES.length - 1]
        && k.dim(0) > 0;
  }

  /** The smallest head size of a kernel that has room for heads of some size. */
  private static int padded(long size) {
    int i = 0;
    while (HEAD_SIZES[i] < size) {
      i++;
    }
    return HEAD_SIZES[i];
  }

  void run(Tensor q, Tensor k, Tensor v, float scale, AttentionMask mask, Tensor out) {
    tiles.prepare(mask);
    int size = padded(q.dim(2));
    long rows = k.dim(1) * k.dim(0);
    long bytes = rows * size * Short.BYTES;
    Storage packed = launcher.context().allocate(2 * bytes);
    try {
      long keys = packed.address();
      long values = keys + bytes;
      pack(k, v, size, keys, values);
      long[] arguments = CudaAttention.arguments(q, k, v, keys, values, scale, mask, tiles, out);
      launch(size, rows, keys, values, arguments, tiles.count() * q.dim(1));
    } finally {
      packed.release();
    }
  }

  private void pack(Tensor k, Tensor v, int size, long keys, long values) {
    launcher.run(
        MODULE,
        "pack_heads_hopper",
        Launcher.blocks(k.dim(0) * size / ELEMENTS_OF_THREAD),
        2 * k.dim(1),
        Launcher.THREADS,
        0,
        address(k),
        address(v),
        k.stride(0),
        v.stride(0),
        k.stride(1),
        v.stride(1),
        keys,
        values,
        k.dim(0),
        k.dim(2),
        size);
  }

  /** Launches a kernel over so many tiles of all heads. */
  private void launch(int size, long rows, long keys, long values, long[] arguments, long works) {
    String kernel = "attention_hopper_" + size;
    int planes = Math.ceilDiv(size * Short.BYTES, GemmPlan.STEP_BYTES);
    int sharedBytes = (1 + 2 * STAGES) * planes * PLANE_BYTES + 4 * STAGES * Long.BYTES;
    CudaContext context = launcher.context();
    synchronized (context) {
      context.bind();
      LaunchBlock block = context.block();
      long row = (long) size * Short.BYTES;
      TensorMaps maps = context.maps();
      block.argument(0, maps.find(keys, rows, row, row, TILE));
      block.argument(1, maps.find(values, rows, row, row, TILE));
      MemorySegment memory = block.arguments();
      for (int i = 0; i < arguments.length; i++) {
        memory.setAtIndex(JAVA_LONG, i, arguments[i]);
      }
      memory.setAtIndex(JAVA_LONG, arguments.length, works);
      block.argument(2, memory.address());
      block.argument(3, memory.address() + arguments.length * (long) Long.BYTES);
      int blocks = (int) Math.min(context.processors(), works);
      block.shape(blocks, 1, THREADS, sharedBytes, 1);
      long function = context.kernels().find(MODULE, kernel, sharedBytes);
      // It begins with the queries, which the packing before it does not touch, and waits for the
      // rest.
      context.check(
          block.launch(context.stream().handle().address(), function, false, true),
          "launching " + kernel);
    }
  }
}
