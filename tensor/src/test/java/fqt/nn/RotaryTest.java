package fqt.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.Device;
import fqt.tensor.Scope;
import org.junit.jupiter.api.Test;

/** Frequencies and tables against values computed by hand from the papers' formulas. */
class RotaryTest {
  private static float[] frequencies(Rotary rotary) {
    float[] all = new float[rotary.pairs()];
    for (int i = 0; i < all.length; i++) {
      all[i] = rotary.frequency(i);
    }
    return all;
  }

  @Test
  void plainFrequenciesAreAGeometricSeries() {
    Rotary rotary = Rotary.of(8, 10000, new RotaryScaling.None());
    assertArrayEquals(new float[] {1, 0.1f, 0.01f, 0.001f}, frequencies(rotary), 1e-8f);
    assertEquals(1, rotary.attentionFactor());
  }

  @Test
  void linearScalingDividesAll() {
    Rotary rotary = Rotary.of(8, 10000, new RotaryScaling.Linear(4));
    assertArrayEquals(new float[] {0.25f, 0.025f, 0.0025f, 0.00025f}, frequencies(rotary), 1e-8f);
  }

  /** Over 128 tokens, 32 and 1 rotations lie at dimensions −0.196 and 1.309: a ramp of 0 to 2. */
  @Test
  void yarnKeepsHighFrequenciesAndDividesLowOnes() {
    double attention = RotaryScaling.Yarn.defaultAttentionFactor(4);
    Rotary rotary = Rotary.of(8, 10000, new RotaryScaling.Yarn(4, 32, 1, attention, 128, true));
    assertArrayEquals(new float[] {1, 0.0625f, 0.0025f, 0.00025f}, frequencies(rotary), 1e-8f);
    assertEquals(1.1386294, rotary.attentionFactor(), 1e-6);
  }

  /** Without rounding the ramp runs from 0 to 1.309: dimension 1 is divided to 0.7639. */
  @Test
  void yarnCanLeaveTheEndsOfItsRampUnrounded() {
    Rotary rotary = Rotary.of(8, 10000, new RotaryScaling.Yarn(4, 32, 1, 1, 128, false));
    assertArrayEquals(new float[] {1, 0.04270564f, 0.0025f, 0.00025f}, frequencies(rotary), 1e-7f);
  }

  /** Over 64 tokens the waves of base 100 turn 10.2, 3.22, 1.02 and 0.32 times. */
  @Test
  void llama3MixesBetweenItsTwoWavelengths() {
    Rotary rotary = Rotary.of(8, 100, new RotaryScaling.Llama3(8, 1, 4, 64));
    assertArrayEquals(
        new float[] {1, 0.2443846f, 0.01304226f, 0.00395285f}, frequencies(rotary), 1e-7f);
  }

  @Test
  void tablesHoldCosinesAndSinesTimesTheAttentionFactor() {
    try (Scope scope = Scope.open()) {
      Rotary rotary = Rotary.of(4, 100, new RotaryScaling.Yarn(1, 32, 1, 1.5, 64, true));
      Rotary.Tables tables = rotary.tables(Device.CPU, new long[] {0, 3});
      assertArrayEquals(
          new float[] {1.5f, 1.5f, 1.5f * (float) Math.cos(3), 1.5f * (float) Math.cos(0.3)},
          tables.cos().toFloats(),
          1e-6f);
      assertArrayEquals(
          new float[] {0, 0, 1.5f * (float) Math.sin(3), 1.5f * (float) Math.sin(0.3)},
          tables.sin().toFloats(),
          1e-6f);
    }
  }

  @Test
  void sectionsTurnByAxesOfTheirOwn() {
    try (Scope scope = Scope.open()) {
      Rotary rotary = Rotary.of(8, 10000, new RotaryScaling.None()).withSections(1, 1, 2);
      Rotary.Tables tables =
          rotary.tables(Device.CPU, new long[] {2}, new long[] {5}, new long[] {7});
      assertArrayEquals(
          new float[] {
            (float) Math.sin(2), (float) Math.sin(0.5), (float) Math.sin(0.07), 0.0069999f
          },
          tables.sin().toFloats(),
          1e-6f);
      assertThrows(IllegalArgumentException.class, () -> rotary.tables(Device.CPU, new long[] {2}));
    }
  }

  @Test
  void repeatedFrequenciesServeRowsAndColumns() {
    try (Scope scope = Scope.open()) {
      Rotary rotary = Rotary.of(4, 100, new RotaryScaling.None()).repeated(2);
      Rotary.Tables tables = rotary.tables(Device.CPU, new long[] {1}, new long[] {2});
      assertArrayEquals(
          new float[] {
            (float) Math.sin(1), (float) Math.sin(0.1), (float) Math.sin(2), (float) Math.sin(0.2)
          },
          tables.sin().toFloats(),
          1e-6f);
    }
  }

  @Test
  void wrongNumbersAreRefused() {
    RotaryScaling none = new RotaryScaling.None();
    assertThrows(IllegalArgumentException.class, () -> Rotary.of(7, 100, none));
    assertThrows(IllegalArgumentException.class, () -> Rotary.of(8, 0, none));
    assertThrows(IllegalArgumentException.class, () -> Rotary.of(8, 100, none).withSections(1, 2));
  }
}
