package fqt.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.Ops;
import fqt.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Drawing tokens from logits. */
class SamplerTest {
  private static final GenerationConfig GREEDY = GenerationConfig.greedy(1, Set.of());
  private static final int DRAWS = 20000;

  /** log of 0.1, 0.4, 0.3, 0.2. */
  private static final float[] LOGITS = {-2.3025851f, -0.91629073f, -1.2039728f, -1.6094379f};

  private static double[] shares(GenerationConfig config) {
    Sampler sampler = new Sampler(config, 4);
    Tensor logits = Ops.of(LOGITS, 4);
    double[] shares = new double[4];
    for (int i = 0; i < DRAWS; i++) {
      shares[sampler.next(logits)] += 1.0 / DRAWS;
    }
    return shares;
  }

  @Test
  void greedyTakesTheLargestAndOfEqualOnesTheFirst() {
    assertEquals(1, new Sampler(GREEDY, 4).next(Ops.of(LOGITS, 4)));
    assertEquals(1, new Sampler(GREEDY, 3).next(Ops.of(new float[] {-1, 2, 2}, 3)));
  }

  @Test
  void drawsFollowTheProbabilities() {
    assertArrayEquals(
        new double[] {0.1, 0.4, 0.3, 0.2}, shares(GREEDY.withTemperature(1).withSeed(1)), 0.015);
  }

  @Test
  void aLowTemperatureSharpens() {
    double sum = 0.01 + 0.16 + 0.09 + 0.04;
    assertArrayEquals(
        new double[] {0.01 / sum, 0.16 / sum, 0.09 / sum, 0.04 / sum},
        shares(GREEDY.withTemperature(0.5).withSeed(2)),
        0.015);
  }

  @Test
  void topKKeepsTheLikeliest() {
    assertArrayEquals(
        new double[] {0, 4.0 / 7, 3.0 / 7, 0},
        shares(GREEDY.withTemperature(1).withTop(2, 1).withSeed(3)),
        0.015);
  }

  @Test
  void topPKeepsTheLikeliestThatReachIt() {
    assertArrayEquals(
        new double[] {0, 4.0 / 9, 3.0 / 9, 2.0 / 9},
        shares(GREEDY.withTemperature(1).withTop(0, 0.75).withSeed(4)),
        0.015);
  }

  @Test
  void theSameSeedDrawsTheSame() {
    GenerationConfig config = GREEDY.withTemperature(1).withSeed(5);
    assertArrayEquals(shares(config), shares(config));
  }

  @Test
  void repetitionIsPenalizedOnBothSidesOfZero() {
    GenerationConfig config = GREEDY.withRepetitionPenalty(2);
    Sampler positive = new Sampler(config, 3);
    positive.saw(0);
    assertEquals(1, positive.next(Ops.of(new float[] {3, 2, 1}, 3)));
    Sampler negative = new Sampler(config, 3);
    negative.saw(0);
    assertEquals(1, negative.next(Ops.of(new float[] {-1, -1.5f, -3}, 3)));
  }

  @Test
  void settingsComeFromTheCheckpoint(@TempDir Path folder) throws IOException {
    Files.writeString(
        folder.resolve(GenerationConfig.FILE),
        """
        {"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
         "repetition_penalty": 1.05, "eos_token_id": [5, 6]}""");
    assertEquals(
        new GenerationConfig(256, 0.7, 20, 0.8, 1.05, 0, Set.of(5, 6)),
        GenerationConfig.load(folder));
    Files.writeString(folder.resolve(GenerationConfig.FILE), "{\"temperature\": 0.7}");
    assertEquals(GenerationConfig.greedy(256, Set.of()), GenerationConfig.load(folder));
    Files.delete(folder.resolve(GenerationConfig.FILE));
    Files.writeString(folder.resolve("config.json"), "{\"eos_token_id\": 9}");
    assertEquals(GenerationConfig.greedy(256, Set.of(9)), GenerationConfig.load(folder));
  }

  @Test
  void settingsOutOfRangeAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> GREEDY.withTemperature(-1));
    assertThrows(IllegalArgumentException.class, () -> GREEDY.withTop(0, 0));
    assertThrows(IllegalArgumentException.class, () -> GREEDY.withTop(-1, 1));
    assertThrows(IllegalArgumentException.class, () -> GREEDY.withRepetitionPenalty(0));
  }
}
