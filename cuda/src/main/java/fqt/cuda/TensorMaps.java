package fqt.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Descriptions of matrices for the copy engine, kept as long as they are in use: encoding one costs
 * more than finding it. A description is determined by its key alone, so a stale one harms nobody.
 */
final class TensorMaps {
  private static final int CAPACITY = 4096;
  private static final long MAP_BYTES = 128;

  /** A matrix of {@code rows} rows of {@code bytes} bytes, fetched {@code box} rows at a time. */
  private record Key(long address, long rows, long bytes, long stride, int box) {}

  private final MemorySegment slots;
  private final MemorySegment scratch;
  private final LinkedHashMap<Key, Long> known = new LinkedHashMap<>(16, 0.75f, true);

  TensorMaps(Arena arena) {
    slots = arena.allocate(CAPACITY * MAP_BYTES, MAP_BYTES);
    scratch = arena.allocate(64, 16);
  }

  /**
   * The address of the description, on the host, valid until the next call but {@link #CAPACITY}.
   *
   * @param address of the first row, a multiple of 16
   * @param stride bytes from one row to the next, a multiple of 16
   */
  long find(long address, long rows, long bytes, long stride, int box) {
    Key key = new Key(address, rows, bytes, stride, box);
    Long slot = known.get(key);
    if (slot == null) {
      slot = encode(key);
      known.put(key, slot);
    }
    return slot;
  }

  /** How many descriptions are kept. */
  int size() {
    return known.size();
  }

  private long encode(Key key) {
    long index = known.size();
    if (index == CAPACITY) {
      Map.Entry<Key, Long> oldest = known.pollFirstEntry();
      index = (oldest.getValue() - slots.address()) / MAP_BYTES;
    }
    MemorySegment map = slots.asSlice(index * MAP_BYTES, MAP_BYTES);
    scratch.set(JAVA_LONG, 0, key.bytes);
    scratch.set(JAVA_LONG, 8, key.rows);
    scratch.set(JAVA_LONG, 16, key.stride);
    scratch.set(JAVA_INT, 24, GemmPlan.STEP_BYTES);
    scratch.set(JAVA_INT, 28, key.box);
    scratch.set(JAVA_INT, 32, 1);
    scratch.set(JAVA_INT, 36, 1);
    CudaException.check(
        Driver.encodeTiled(
            map,
            key.address,
            scratch,
            scratch.asSlice(16),
            scratch.asSlice(24),
            scratch.asSlice(32)),
        "describing %d rows of %d bytes, %d apart, to the copy engine"
            .formatted(key.rows, key.bytes, key.stride));
    return map.address();
  }
}
