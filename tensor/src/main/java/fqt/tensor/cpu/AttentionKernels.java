package fqt.tensor.cpu;

import fqt.tensor.AttentionMask;
import fqt.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * Attention in blocks of keys with a running maximum (Milakov and Gimelshein 2018; Dao et al.
 * 2022): no more than one block of scores a thread exists at a time. A task is a few neighbouring
 * queries times the heads that share their keys, so that a block of keys, once in the cache, serves
 * them all.
 *
 * <p>With many queries the keys are first laid out as {@link PackedKeys}, so that scores and means
 * are small matrix products; with few, as when one token is generated, keys and values are read
 * once, where they lie.
 */
final class AttentionKernels {
  /** Rows (queries times heads) of a task: whole tiles of 4, 6 or 12. */
  private static final int ROWS = 60;

  /** Numbers of keys to be multiplied by that are worth another thread. */
  private static final long GRAIN = 1 << 16;

  /** From so many rows a sequence on, packing the keys is worth its cost. */
  private static final long PACKED_FROM = 8;

  private final MachineKernels machine;
  private final HostMemory memory;
  private final Tensor q;
  private final Tensor k;
  private final Tensor v;
  private final float scale;
  private final AttentionMask mask;
  private final MemorySegment queries;
  private final MemorySegment means;
  private final int shared;
  private final long heads;
  private final long groups;
  private final int queriesAtOnce;

  private AttentionKernels(
      MachineKernels machine,
      HostMemory memory,
      Tensor q,
      Tensor k,
      Tensor v,
      float scale,
      AttentionMask mask,
      Tensor out) {
    this.machine = machine;
    this.memory = memory;
    this.q = q;
    this.k = k;
    this.v = v;
    this.scale = scale;
    this.mask = mask;
    this.queries = q.storage().segment();
    this.means = out.segment();
    this.heads = q.dim(1);
    this.groups = k.dim(1);
    this.shared = Math.toIntExact(q.dim(1) / groups);
    this.queriesAtOnce = Math.max(1, ROWS / shared);
  }

  /**
   * Attention of all heads.
   *
   * @param machine kernels for products and scores, or null for the Vector API
   */
  static void attention(
      Threads threads,
      MachineKernels machine,
      HostMemory memory,
      Tensor q,
      Tensor k,
      Tensor v,
      float scale,
      AttentionMask mask,
      Tensor out) {
    if (out.count() == 0) {
      return;
    }
    AttentionKernels kernels = new AttentionKernels(machine, memory, q, k, v, scale, mask, out);
    long sequences = mask.queryBounds().length - 1L;
    if (q.dim(0) * kernels.shared < PACKED_FROM * sequences) {
      kernels.run(threads, null);
      return;
    }
    try (PackedKeys keys =
        PackedKeys.pack(
            threads, machine == null ? null : machine.turn(), memory, k, v, mask.keyBounds())) {
      kernels.run(threads, keys);
    }
  }

  /** Shares out the tasks, the last queries first: under a causal mask they have the most keys. */
  private void run(Threads threads, PackedKeys keys) {
    long[] bounds = mask.queryBounds();
    long[] tasks = new long[bounds.length];
    for (int s = 0; s + 1 < bounds.length; s++) {
      tasks[s + 1] = tasks[s] + Math.ceilDiv(bounds[s + 1] - bounds[s], queriesAtOnce);
    }
    long total = tasks[tasks.length - 1] * groups;
    long ofTask = k.count() / groups / (bounds.length - 1) * Math.min(ROWS, q.dim(0) * shared);
    threads.forEach(
        total,
        Math.max(1, GRAIN / Math.max(1, ofTask)),
        (first, end) -> {
          for (long i = first; i < end; i++) {
            long task = (total - 1 - i) / groups;
            int sequence = sequence(tasks, task);
            long query = bounds[sequence] + (task - tasks[sequence]) * queriesAtOnce;
            attend(keys, sequence, query, (total - 1 - i) % groups);
          }
        });
  }

  /** The last sequence whose tasks begin at or before one. */
  private static int sequence(long[] tasks, long task) {
    int low = 0;
    int high = tasks.length - 2;
    while (low < high) {
      int middle = (low + high + 1) >>> 1;
      if (tasks[middle] <= task) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  private void attend(PackedKeys keys, int sequence, long query, long group) {
    long[] queryBounds = mask.queryBounds();
    long firstKey = mask.keyBounds()[sequence];
    long keyCount = mask.keyBounds()[sequence + 1] - firstKey;
    long end = Math.min(query + queriesAtOnce, queryBounds[sequence + 1]);
    // The place among the keys of the query at hand: the last query stands beside the last key.
    long place = keyCount - (queryBounds[sequence + 1] - query);
    int rows = (int) (end - query) * shared;
    long start = Math.max(0, from(place)) / PackedKeys.KEYS * PackedKeys.KEYS;
    long stop = to(place + (end - 1 - query), keyCount);
    try (AttentionRows block = rows(keys, rows)) {
      for (int r = 0; r < rows; r++) {
        block.query(r, queries, start(query + r / shared, group * shared + r % shared));
        block.visible(r, from(place + r / shared), to(place + r / shared, keyCount));
      }
      for (long key = start; key < stop; key += PackedKeys.KEYS) {
        if (block instanceof AttentionBlock inPlace && keys == null) {
          int count = (int) Math.min(PackedKeys.KEYS, keyCount - key);
          inPlace.addKeys(k, v, firstKey + key, group, key, count);
        } else {
          int count = (int) Math.min(PackedKeys.KEYS, Math.min(stop, keyCount) - key);
          block.addPacked(keys, keys.index(sequence, key, group), key, count);
        }
      }
      for (int r = 0; r < rows; r++) {
        block.mean(r, means, (query + r / shared) * heads + group * shared + r % shared);
      }
    }
  }

  /** Where the query of a head is, in bytes. */
  private long start(long query, long head) {
    return (q.offset() + query * q.stride(0) + head * q.stride(1)) * Float.BYTES;
  }

  private AttentionRows rows(PackedKeys keys, int rows) {
    int depth = Math.toIntExact(q.dim(2));
    return keys != null && machine != null && MachineAttention.fits(depth)
        ? new MachineAttention(machine, memory, rows, depth, scale)
        : new AttentionBlock(rows, depth, scale);
  }

  private long from(long place) {
    return mask.window() == 0 ? 0 : Math.max(0, place - mask.window() + 1);
  }

  private long to(long place, long keyCount) {
    return mask.causal() ? place + 1 : keyCount;
  }
}
