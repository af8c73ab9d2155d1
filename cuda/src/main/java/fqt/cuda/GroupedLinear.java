package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import fqt.tensor.DType;
import fqt.tensor.Storage;
import fqt.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Linears of groups of rows, each with a weight of its own, as one launch on Hopper
 * (gemm_grouped_sm90a.cu). The kernel finds each weight by a description for the copy engine in the
 * GPU's memory; those of the last layers stay there.
 */
final class GroupedLinear {
  private static final String MODULE = "gemm_grouped_sm90a";
  private static final String KERNEL = "gemm_grouped_bf16";
  private static final int HOPPER_CAPABILITY = 90;
  private static final long ALIGNMENT = 16;
  private static final int ROWS = 128;
  private static final int WIDTH = 192;
  private static final int STAGES = 5;
  private static final int THREADS = 384;
  private static final int SHARED_BYTES =
      STAGES * (ROWS + WIDTH) * GemmPlan.STEP_BYTES
          + 8 * 16 * 128
          + 2 * 2 * WIDTH * Float.BYTES
          + (2 * STAGES + 2) * Long.BYTES;
  private static final int MAP_BYTES = 128;
  private static final int TILE_BYTES = 16;
  private static final int MOST_LAYERS = 256;

  /** Weights as their descriptions see them. */
  private record Key(List<Long> addresses, long outputs, long inputs) {}

  private final Launcher launcher;
  private final Map<Key, Storage> descriptions = new LinkedHashMap<>(16, 0.75f, true);

  GroupedLinear(Launcher launcher) {
    this.launcher = launcher;
  }

  /** Whether the kernel takes such weights: bfloat16 of one shape, rows of whole 16 bytes. */
  boolean takes(List<Tensor> w) {
    Tensor first = w.getFirst();
    return launcher.context().capability() == HOPPER_CAPABILITY
        && first.dim(1) > 0
        && first.dim(1) * Short.BYTES % ALIGNMENT == 0
        && w.stream()
            .allMatch(
                x ->
                    x.dtype() == DType.BF16
                        && x.shape().equals(first.shape())
                        && x.isContiguous()
                        && Launcher.address(x) % ALIGNMENT == 0);
  }

  /**
   * Multiplies each group's rows by its weight.
   *
   * @param x BF16 [M, K], without gaps
   * @param bounds the first row of each group, and the number of rows
   * @param out F32 [M, N]
   */
  synchronized void run(Tensor x, long[] bounds, List<Tensor> w, Tensor out) {
    CudaContext context = launcher.context();
    MatmulArguments arguments =
        MatmulArguments.of(context.device(), x, w.getFirst(), null, null, false, null, out);
    List<int[]> tiles = tiles(bounds);
    Storage list = context.allocate(tiles.size() * (long) TILE_BYTES);
    try {
      upload(tiles, list);
      long columns = Math.ceilDiv(out.dim(1), (long) WIDTH);
      long[] groups = {describe(w).address(), list.address(), tiles.size()};
      launch(arguments, groups, Math.min(context.processors(), columns * tiles.size()));
    } finally {
      list.release();
    }
  }

  /** Group, first row and end of each tile. */
  private static List<int[]> tiles(long[] bounds) {
    List<int[]> tiles = new ArrayList<>();
    for (int group = 0; group + 1 < bounds.length; group++) {
      for (long row = bounds[group]; row < bounds[group + 1]; row += ROWS) {
        int end = Math.toIntExact(Math.min(row + ROWS, bounds[group + 1]));
        tiles.add(new int[] {group, Math.toIntExact(row), end, 0});
      }
    }
    return tiles;
  }

  private void upload(List<int[]> tiles, Storage target) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(tiles.size() * (long) TILE_BYTES, TILE_BYTES);
      for (int i = 0; i < tiles.size(); i++) {
        MemorySegment.copy(tiles.get(i), 0, bytes, JAVA_INT, i * (long) TILE_BYTES, 4);
      }
      launcher.context().upload(bytes, target.address());
    }
  }

  /** The descriptions of some weights on the GPU, each like those that other kernels get. */
  private Storage describe(List<Tensor> w) {
    List<Long> addresses = w.stream().map(Launcher::address).toList();
    Key key = new Key(addresses, w.getFirst().dim(0), w.getFirst().dim(1));
    Storage known = descriptions.get(key);
    if (known != null) {
      return known;
    }
    if (descriptions.size() == MOST_LAYERS) {
      Key oldest = descriptions.keySet().iterator().next();
      descriptions.remove(oldest).release();
    }
    CudaContext context = launcher.context();
    Storage storage = context.allocateZeros(w.size() * (long) MAP_BYTES);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(w.size() * (long) MAP_BYTES, MAP_BYTES);
      long row = key.inputs * Short.BYTES;
      synchronized (context) {
        for (int i = 0; i < addresses.size(); i++) {
          long map = context.maps().find(addresses.get(i), key.outputs, row, row, WIDTH);
          MemorySegment source = MemorySegment.ofAddress(map).reinterpret(MAP_BYTES);
          MemorySegment.copy(source, 0, bytes, i * (long) MAP_BYTES, MAP_BYTES);
        }
      }
      context.upload(bytes, storage.address());
    }
    descriptions.put(key, storage);
    return storage;
  }

  private void launch(MatmulArguments arguments, long[] groups, long blocks) {
    CudaContext context = launcher.context();
    synchronized (context) {
      context.bind();
      LaunchBlock block = context.block();
      MemorySegment values = block.arguments();
      arguments.write(values, 0, false);
      for (int i = 0; i < groups.length; i++) {
        values.set(JAVA_LONG, MatmulArguments.BYTES + i * (long) Long.BYTES, groups[i]);
      }
      long rowBytes = arguments.strideA();
      block.argument(
          0, context.maps().find(arguments.a(), arguments.m(), arguments.bytesK(), rowBytes, ROWS));
      block.argument(1, values.address());
      block.argument(2, values.address() + MatmulArguments.BYTES);
      block.shape((int) blocks, 1, THREADS, SHARED_BYTES, 1);
      long function = context.kernels().find(MODULE, KERNEL, SHARED_BYTES);
      context.check(
          block.launch(context.stream().handle().address(), function, false, false),
          "launching %s for %d x %d x %d"
              .formatted(KERNEL, arguments.m(), arguments.n(), arguments.k()));
    }
  }
}
