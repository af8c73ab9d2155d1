package fqt.models.tokenizer;

import java.util.Arrays;

/** A hash table from pairs of token ids to numbers that are not negative; built once, then read. */
final class PairMap {
  private static final long EMPTY = -1;

  /** Keys and values alternate, so that a look-up touches one cache line. */
  private final long[] table;

  private final int shift;

  PairMap(int count) {
    int bits = Math.max(4, 33 - Integer.numberOfLeadingZeros(count));
    table = new long[2 << bits];
    shift = Long.SIZE - bits;
    Arrays.fill(table, EMPTY);
  }

  static long pair(int left, int right) {
    return (long) left << Integer.SIZE | right;
  }

  void put(long key, long value) {
    int slot = slot(key);
    table[slot] = key;
    table[slot + 1] = value;
  }

  /** The value of a key, or −1. */
  long get(long key) {
    return table[slot(key) + 1];
  }

  /** Where the key is or belongs. */
  private int slot(long key) {
    int slot = (int) (key * 0x9E3779B97F4A7C15L >>> shift) << 1;
    while (table[slot] != key && table[slot] != EMPTY) {
      slot = slot + 2 & table.length - 1;
    }
    return slot;
  }
}
