package fqt.models.tokenizer;

import java.util.Arrays;

/**
 * Byte-pair encoding of one word (Sennrich et al. 2016): starting from its bytes, the adjacent pair
 * that was learned first is merged, leftmost first, until no learned pair is left.
 */
final class Bpe {
  /** Up to here, looking through all pairs is faster than keeping them in a heap. */
  private static final int SHORT = 32;

  private static final long NONE = Long.MAX_VALUE;

  private final int[] byteIds;
  private final PairMap merges;

  /**
   * A model.
   *
   * @param byteIds the token of each byte, or −1
   * @param merges rank · 2³² + merged token of each pair
   */
  Bpe(int[] byteIds, PairMap merges) {
    this.byteIds = byteIds;
    this.merges = merges;
  }

  /**
   * The tokens of a word.
   *
   * @throws IllegalArgumentException if it has a byte without a token
   */
  int[] encode(byte[] word) {
    int[] tokens = new int[word.length];
    for (int i = 0; i < tokens.length; i++) {
      tokens[i] = byteIds[Byte.toUnsignedInt(word[i])];
      if (tokens[i] < 0) {
        throw new IllegalArgumentException(
            "the vocabulary has no token for byte 0x%02x".formatted(word[i]));
      }
    }
    int count = tokens.length <= SHORT ? mergeShort(tokens) : new LongWord(tokens).merge();
    return count == tokens.length ? tokens : Arrays.copyOf(tokens, count);
  }

  private long merge(int left, int right) {
    long merge = merges.get(PairMap.pair(left, right));
    return merge < 0 ? NONE : merge;
  }

  /** Merges in place and returns how many tokens are left. */
  private int mergeShort(int[] tokens) {
    int count = tokens.length;
    long[] pairs = new long[count];
    for (int i = 0; i + 1 < count; i++) {
      pairs[i] = merge(tokens[i], tokens[i + 1]);
    }
    while (count > 1) {
      int best = 0;
      for (int i = 1; i + 1 < count; i++) {
        if (pairs[i] < pairs[best]) {
          best = i;
        }
      }
      if (pairs[best] == NONE) {
        break;
      }
      tokens[best] = (int) pairs[best];
      count--;
      System.arraycopy(tokens, best + 2, tokens, best + 1, count - best - 1);
      System.arraycopy(pairs, best + 1, pairs, best, count - best);
      if (best > 0) {
        pairs[best - 1] = merge(tokens[best - 1], tokens[best]);
      }
      if (best + 1 < count) {
        pairs[best] = merge(tokens[best], tokens[best + 1]);
      }
    }
    return count;
  }

  /**
   * A long word as a linked list with a heap of the pairs that may be merged, so that a megabyte
   * takes n log n steps. A heap entry is rank · 2³² + position; one whose pair has changed since is
   * recognised because the pair that is there now has another rank.
   */
  private final class LongWord {
    private final int[] tokens;
    private final int[] next;
    private final int[] previous;
    private long[] heap;
    private int heapSize;

    LongWord(int[] tokens) {
      this.tokens = tokens;
      next = new int[tokens.length];
      previous = new int[tokens.length];
      heap = new long[tokens.length];
      for (int i = 0; i < tokens.length; i++) {
        next[i] = i + 1;
        previous[i] = i - 1;
      }
    }

    int merge() {
      for (int i = 0; i + 1 < tokens.length; i++) {
        offer(i);
      }
      while (heapSize > 0) {
        long entry = poll();
        int at = (int) entry;
        int right = next[at];
        if (right < 0 || right >= tokens.length) {
          continue;
        }
        long merge = Bpe.this.merge(tokens[at], tokens[right]);
        if (merge != NONE && merge >>> Integer.SIZE == entry >>> Integer.SIZE) {
          join(at, right, (int) merge);
        }
      }
      int count = 0;
      for (int i = 0; i < tokens.length; i = next[i]) {
        tokens[count++] = tokens[i];
      }
      return count;
    }

    private void join(int left, int right, int token) {
      tokens[left] = token;
      next[left] = next[right];
      next[right] = -1;
      if (next[left] < tokens.length) {
        previous[next[left]] = left;
        offer(left);
      }
      if (previous[left] >= 0) {
        offer(previous[left]);
      }
    }

    private void offer(int at) {
      long merge = Bpe.this.merge(tokens[at], tokens[next[at]]);
      if (merge == NONE) {
        return;
      }
      if (heapSize == heap.length) {
        heap = Arrays.copyOf(heap, heap.length + (heap.length >> 1) + 1);
      }
      long entry = merge >>> Integer.SIZE << Integer.SIZE | at;
      int hole = heapSize++;
      while (hole > 0 && heap[hole - 1 >> 1] > entry) {
        heap[hole] = heap[hole - 1 >> 1];
        hole = hole - 1 >> 1;
      }
      heap[hole] = entry;
    }

    private long poll() {
      long least = heap[0];
      long entry = heap[--heapSize];
      int hole = 0;
      for (int child = 1; child < heapSize; child = 2 * hole + 1) {
        if (child + 1 < heapSize && heap[child + 1] < heap[child]) {
          child++;
        }
        if (heap[child] >= entry) {
          break;
        }
        heap[hole] = heap[child];
        hole = child;
      }
      heap[hole] = entry;
      return least;
    }
  }
}
