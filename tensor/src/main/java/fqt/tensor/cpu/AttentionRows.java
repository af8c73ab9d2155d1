package fqt.tensor.cpu;

import java.lang.foreign.MemorySegment;

/**
 * A few rows (queries of heads) of attention on their way over the keys. Of each row it holds the
 * query, the scores of one block of keys, the largest score so far, the sum of the weights and the
 * weighted sum of the values; the last two are rescaled whenever the largest score grows.
 */
sealed interface AttentionRows extends AutoCloseable permits AttentionBlock, MachineAttention {
  /** Sets the query of a row, which begins at byte {@code start}. */
  void query(int row, MemorySegment q, long start);

  /** Sets which keys of the sequence a row sees. */
  void visible(int row, long first, long end);

  /**
   * Takes in the first keys of a packed block.
   *
   * @param index which block
   * @param place place of its first key in the sequence
   * @param count keys that any row may see
   */
  void addPacked(PackedKeys keys, long index, long place, int count);

  /** Writes the mean of the values of a row as head {@code head}, counted over all tokens. */
  void mean(int row, MemorySegment out, long head);

  @Override
  void close();
}
