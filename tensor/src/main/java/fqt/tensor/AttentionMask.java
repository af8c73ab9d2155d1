package fqt.tensor;

/**
 * Which keys a query may see. Queries and keys are packed sequences, one after the other; bound
 * {@code i} to bound {@code i + 1} is sequence {@code i}. A query sees only keys of its own
 * sequence. Within a sequence the last query stands beside the last key, so that a few new queries
 * can be asked against a longer cache.
 *
 * @param causal whether a query sees only keys up to its own place
 * @param window how many keys, its own included, a query sees backwards; 0 for all
 * @param queryBounds start of each sequence among the queries, ending with their number
 * @param keyBounds the same for the keys; as many entries
 */
public record AttentionMask(boolean causal, long window, long[] queryBounds, long[] keyBounds) {
  /**
   * Checks the bounds.
   *
   * @throws IllegalArgumentException if bounds differ in length, do not start at 0 or decrease
   */
  public AttentionMask {
    if (window < 0) {
      throw new IllegalArgumentException("negative attention window " + window);
    }
    if (queryBounds.length != keyBounds.length || queryBounds.length < 2) {
      throw new IllegalArgumentException(
          "%d query bounds and %d key bounds; expected as many of each, at least 2"
              .formatted(queryBounds.length, keyBounds.length));
    }
    requireRising(queryBounds, "query");
    requireRising(keyBounds, "key");
  }

  /**
   * {@return one causal sequence of as many queries as keys}
   *
   * @param tokens queries, and as many keys
   */
  public static AttentionMask causal(long tokens) {
    return causal(tokens, tokens);
  }

  /**
   * {@return one causal sequence whose last {@code queries} keys are the queries' own}
   *
   * @param queries tokens that ask, at the end of the sequence
   * @param keys all tokens of the sequence, the queries' own included
   */
  public static AttentionMask causal(long queries, long keys) {
    return new AttentionMask(true, 0, new long[] {0, queries}, new long[] {0, keys});
  }

  /**
   * {@return packed sequences with the given bounds, each attending only to itself}
   *
   * @param causal whether a query sees only keys up to its own place
   * @param bounds start of each sequence in tokens, ending with their number; from 0, never
   *     decreasing
   */
  public static AttentionMask segments(boolean causal, long... bounds) {
    return new AttentionMask(causal, 0, bounds, bounds);
  }

  /**
   * {@return the same mask with a sliding window}
   *
   * @param keys how many keys, its own included, a query sees backwards; 0 for all
   */
  public AttentionMask withWindow(long keys) {
    return new AttentionMask(causal, keys, queryBounds, keyBounds);
  }

  /** {@return the number of queries} */
  public long queries() {
    return queryBounds[queryBounds.length - 1];
  }

  /** {@return the number of keys} */
  public long keys() {
    return keyBounds[keyBounds.length - 1];
  }

  private static void requireRising(long[] bounds, String what) {
    if (bounds[0] != 0) {
      throw new IllegalArgumentException(what + " bounds start at " + bounds[0] + ", not at 0");
    }
    for (int i = 1; i < bounds.length; i++) {
      if (bounds[i] < bounds[i - 1]) {
        throw new IllegalArgumentException(
            "%s bounds decrease from %d to %d".formatted(what, bounds[i - 1], bounds[i]));
      }
    }
  }
}
