package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import fqt.tensor.AttentionMask;
import fqt.tensor.Storage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * The queries of packed sequences cut into tiles, as the attention kernels read them ({@code Tile}
 * in attention.cu). All layers of a model ask for the same tiles, so the last ones stay on the GPU.
 * The tiles that see most keys come first: the short ones then fill the gaps at the end.
 */
final class AttentionTiles {
  private static final int TILE_BYTES = 24;

  private record Tile(long query, long count, long key, long keys, long place) {
    long visible(boolean causal) {
      return causal ? place + count : keys;
    }
  }

  private final CudaContext context;
  private final int rows;
  private AttentionMask known;
  private Storage storage;
  private int count;

  /** Tiles of so many queries at most. */
  AttentionTiles(CudaContext context, int rows) {
    this.context = context;
    this.rows = rows;
  }

  /** Makes the tiles of a mask the current ones. */
  void prepare(AttentionMask mask) {
    if (known != null && sameBounds(known, mask)) {
      return;
    }
    List<Tile> tiles = cut(mask);
    if (storage != null) {
      storage.release();
    }
    storage = context.allocate(Math.max(1, tiles.size()) * (long) TILE_BYTES);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = arena.allocate(tiles.size() * (long) TILE_BYTES, 8);
      for (int i = 0; i < tiles.size(); i++) {
        Tile tile = tiles.get(i);
        long[] fields = {tile.query, tile.count, tile.key, tile.keys, tile.place, 0};
        for (int f = 0; f < fields.length; f++) {
          bytes.set(JAVA_INT, i * (long) TILE_BYTES + 4L * f, Math.toIntExact(fields[f]));
        }
      }
      context.upload(bytes, storage.address());
    }
    known = mask;
    count = tiles.size();
  }

  int count() {
    return count;
  }

  long address() {
    return storage.address();
  }

  private static boolean sameBounds(AttentionMask a, AttentionMask b) {
    return a.causal() == b.causal()
        && Arrays.equals(a.queryBounds(), b.queryBounds())
        && Arrays.equals(a.keyBounds(), b.keyBounds());
  }

  private List<Tile> cut(AttentionMask mask) {
    List<Tile> tiles = new ArrayList<>();
    long[] queries = mask.queryBounds();
    long[] keys = mask.keyBounds();
    for (int s = 0; s + 1 < queries.length; s++) {
      long keyCount = keys[s + 1] - keys[s];
      long before = keyCount - (queries[s + 1] - queries[s]);
      for (long q = queries[s]; q < queries[s + 1]; q += rows) {
        long size = Math.min(rows, queries[s + 1] - q);
        tiles.add(new Tile(q, size, keys[s], keyCount, before + q - queries[s]));
      }
    }
    Collections.sort(
        tiles, (a, b) -> Long.compare(b.visible(mask.causal()), a.visible(mask.causal())));
    return tiles;
  }
}
