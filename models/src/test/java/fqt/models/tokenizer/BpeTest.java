package fqt.models.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class BpeTest {
  /** A made-up model over the letters a to d, and the plainest way to apply it. */
  private static final class Model {
    final Map<Long, Integer> ranks = new HashMap<>();
    final List<Integer> merged = new ArrayList<>();
    final Bpe bpe;

    Model(int count, Random random) {
      int[] byteIds = new int[256];
      Arrays.fill(byteIds, -1);
      for (int i = 0; i < 4; i++) {
        byteIds['a' + i] = i;
      }
      PairMap merges = new PairMap(count);
      int tokens = 4;
      while (merged.size() < count) {
        long pair = PairMap.pair(random.nextInt(tokens), random.nextInt(tokens));
        if (ranks.putIfAbsent(pair, merged.size()) == null) {
          merges.put(pair, PairMap.pair(merged.size(), tokens));
          merged.add(tokens++);
        }
      }
      bpe = new Bpe(byteIds, merges);
    }

    List<Integer> plain(byte[] word) {
      List<Integer> tokens = new ArrayList<>();
      for (byte b : word) {
        tokens.add(b - 'a');
      }
      while (true) {
        int best = -1;
        int bestRank = Integer.MAX_VALUE;
        for (int i = 0; i + 1 < tokens.size(); i++) {
          int rank =
              ranks.getOrDefault(PairMap.pair(tokens.get(i), tokens.get(i + 1)), Integer.MAX_VALUE);
          if (rank < bestRank) {
            best = i;
            bestRank = rank;
          }
        }
        if (best < 0) {
          return tokens;
        }
        tokens.set(best, merged.get(bestRank));
        tokens.subList(best + 1, best + 2).clear();
      }
    }
  }

  private static byte[] word(Random random, int length, int letters) {
    byte[] word = new byte[length];
    for (int i = 0; i < length; i++) {
      word[i] = (byte) ('a' + random.nextInt(letters));
    }
    return word;
  }

  @Test
  void agreesWithThePlainestWay() {
    Random random = new Random(5);
    for (int round = 0; round < 300; round++) {
      Model model = new Model(1 + random.nextInt(80), random);
      for (int length : new int[] {0, 1, 2, 3, 7, 17, 31, 32, 33, 34, 63, 65, 200}) {
        byte[] word = word(random, length, 1 + random.nextInt(4));
        int[] expected = model.plain(word).stream().mapToInt(i -> i).toArray();
        assertArrayEquals(expected, model.bpe.encode(word));
      }
    }
  }

  /** Would take hours if a long word were looked through for each merge. */
  @Test
  @Timeout(60)
  void takesAMegabyteOfOneLetter() {
    int[] byteIds = new int[256];
    Arrays.setAll(byteIds, b -> b);
    PairMap merges = new PairMap(10);
    for (int i = 0; i < 10; i++) {
      int part = i == 0 ? 'a' : 255 + i;
      merges.put(PairMap.pair(part, part), PairMap.pair(i, 256 + i));
    }
    byte[] word = new byte[(1 << 20) + 3];
    Arrays.fill(word, (byte) 'a');
    int[] tokens = new Bpe(byteIds, merges).encode(word);
    assertEquals((1 << 10) + 2, tokens.length);
    assertEquals(265, tokens[0]);
    assertArrayEquals(new int[] {265, 256, 'a'}, Arrays.copyOfRange(tokens, 1023, 1026));
  }

  @Test
  void refusesAByteWithoutAToken() {
    Model model = new Model(3, new Random(1));
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> model.bpe.encode(new byte[] {'a', (byte) 0xC3}));
    assertEquals("the vocabulary has no token for byte 0xc3", e.getMessage());
  }
}
