package fqt.models.tokenizer;

import java.util.Arrays;

/**
 * Remembers the tokens of short words. The table is of fixed size and a word takes the place of
 * whichever had it before, so memory is bounded; entries are immutable, so threads may share it
 * without locks and at worst miss what another just stored.
 */
final class WordCache {
  private static final int BITS = 16;
  private static final int MAX_LENGTH = 48;

  private record Entry(char[] word, int[] tokens) {}

  private final Entry[] entries = new Entry[1 << BITS];

  /** The tokens of a range of characters, or null. The array must not be changed. */
  int[] get(char[] text, int from, int to) {
    if (to - from > MAX_LENGTH) {
      return null;
    }
    Entry entry = entries[slot(text, from, to)];
    boolean same = entry != null && Arrays.equals(entry.word, 0, entry.word.length, text, from, to);
    return same ? entry.tokens : null;
  }

  void put(char[] text, int from, int to, int[] tokens) {
    if (to - from <= MAX_LENGTH) {
      entries[slot(text, from, to)] = new Entry(Arrays.copyOfRange(text, from, to), tokens);
    }
  }

  private static int slot(char[] text, int from, int to) {
    int hash = to - from;
    for (int i = from; i < to; i++) {
      hash = 31 * hash + text[i];
    }
    return hash * 0x9E3779B9 >>> Integer.SIZE - BITS;
  }
}
