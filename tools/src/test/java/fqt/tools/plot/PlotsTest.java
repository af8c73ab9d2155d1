package fqt.tools.plot;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is drawn, by the numbers that a plot reduces its tensor to and by the pixels' colours. */
class PlotsTest {
  private Scope scope;

  @BeforeAll
  static void withoutScreen() {
    System.setProperty("java.awt.headless", "true");
    Fonts.assumeThere();
  }

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private static float[] noise(int count) {
    Random random = new Random(count);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** Share of pixels that are nearly of a colour. */
  private static int count(BufferedImage image, Color colour) {
    int count = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        Color found = new Color(image.getRGB(x, y));
        int distance =
            Math.abs(found.getRed() - colour.getRed())
                + Math.abs(found.getGreen() - colour.getGreen())
                + Math.abs(found.getBlue() - colour.getBlue());
        count += distance < 24 ? 1 : 0;
      }
    }
    return count;
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1, 7, 9",
    "3, 17, 7, 9",
    "63, 129, 7, 9",
    "1000, 1300, 110, 170",
    "2, 300001, 4, 5"
  })
  void gridsKeepTheLargestMagnitude(int rows, int columns, int maxRows, int maxColumns) {
    float[] values = noise(rows * columns);
    int outlier = new Random(5).nextInt(values.length);
    values[outlier] = -1000;
    Grid grid = Grid.of(Ops.of(values, rows, columns), maxRows, maxColumns);
    assertEquals(Math.min(rows, maxRows), grid.rows());
    assertEquals(Math.min(columns, maxColumns), grid.columns());
    float[] expected = new float[grid.rows() * grid.columns()];
    for (int i = 0; i < values.length; i++) {
      int r = (int) ((long) (i / columns) * grid.rows() / rows);
      int c = (int) ((long) (i % columns) * grid.columns() / columns);
      int cell = r * grid.columns() + c;
      expected[cell] = Math.max(expected[cell], Math.abs(values[i]));
    }
    assertArrayEquals(expected, grid.cells());
    assertEquals(1000, grid.max());
  }

  @Test
  void gridsAndSummariesLeaveOutWhatIsNotFinite() {
    float[] values = {1, Float.NaN, -3, Float.POSITIVE_INFINITY, 2, Float.NEGATIVE_INFINITY};
    Tensor tensor = Ops.of(values, 2, 3);
    assertArrayEquals(new float[] {1, 0, 3, 0, 2, 0}, Grid.of(tensor, 9, 9).cells());
    Summary summary = Summary.of(tensor);
    assertEquals(new Summary(3, 3, -3, 2, 0, Math.sqrt(14 / 3.0)), summary);
    assertTrue(summary.line(tensor).endsWith("3 not finite"), summary.line(tensor));
  }

  @Test
  void stridedAndNarrowTensorsAreTakenAsTheyAre() {
    Tensor tensor = Ops.to(Ops.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3), DType.BF16);
    assertArrayEquals(
        new float[] {1, 4, 2, 5, 3, 6}, Grid.of(tensor.transpose(0, 1), 9, 9).cells());
    Tensor codes = Ops.of(new int[] {-8, 7, 7, 0}, 2, 2);
    assertArrayEquals(new float[] {8, 7, 7, 0}, Grid.of(codes, 9, 9).cells());
  }

  @Test
  void anOutlierIsSeenInTheSurface() {
    float[] values = noise(700 * 500);
    BufferedImage plain = Plots.surface(Ops.of(values, 700, 500), "plain");
    values[234567] = 60;
    BufferedImage peak = Plots.surface(Ops.of(values, 700, 500), "peak");
    Color top = ColourScale.at(0.9);
    // The colour bar has it in both.
    assertTrue(count(plain, ColourScale.at(0.03)) < 20_000);
    assertTrue(count(peak, ColourScale.at(0.05)) > 100_000, "the rest is low beside the peak");
    assertTrue(count(peak, top) > 400, "" + count(peak, top));
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "1, 9", "9, 1", "2, 2", "300, 3"})
  void surfacesOfAnyShapeAreDrawn(int rows, int columns) {
    BufferedImage image = Plots.surface(Ops.of(noise(rows * columns), rows, columns), "shape");
    assertEquals(1920, image.getWidth());
    assertTrue(count(image, Sheet.INK) > 200, "title");
    Plots.surface(Ops.of(new float[rows * columns], rows, columns), "zeros");
  }

  @Test
  void histogramsCountEveryValueOnce() {
    float[] values = noise(300_001);
    long[] counts = new Histogram(Ops.of(values, 300_001)).counts();
    assertEquals(values.length, Arrays.stream(counts).sum());
    assertTrue(counts[counts.length - 1] >= 1);
    assertTrue(counts[counts.length / 2] > 3000);
    int[] codes = {-8, -8, 0, 7, 7, 7};
    long[] each = new Histogram(Ops.of(codes, 6)).counts();
    assertArrayEquals(new long[] {2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3}, each);
    assertTrue(count(Plots.histogram(Ops.of(codes, 6), "codes"), Sheet.BLUE) > 100_000);
    Plots.histogram(Ops.of(new float[] {3, 3, 3}, 3), "one value");
  }

  @Test
  void channelsThatStandOutAreNamed() {
    float[] values = noise(64 * 512);
    BufferedImage plain = Plots.channels(Ops.of(values, 64, 512), "plain");
    values[40 * 512 + 77] = -50;
    BufferedImage named = Plots.channels(Ops.of(values, 64, 512), "named");
    assertEquals(0, count(plain, Sheet.RED));
    assertTrue(count(named, Sheet.RED) > 60, "" + count(named, Sheet.RED));
    assertTrue(count(named, Sheet.BLUE) > 2000);
    Plots.channels(Ops.of(new float[] {1}, 1), "one");
  }

  @Test
  void lossesAreCurvesOfKinds() {
    Map<String, Double> losses = new TreeMap<>();
    for (int i = 0; i < 12; i++) {
      losses.put("model.layers." + i + ".self_attn.q_proj", 0.1 * (i + 1));
      for (int e = 0; e < 3; e++) {
        losses.put("model.layers.%d.mlp.experts.%d.up_proj".formatted(i, e), 2.0);
      }
    }
    losses.put("lm_head", 5.0);
    losses.put("model.layers.0.self_attn.k_proj", 0.0);
    Losses curves = new Losses(losses);
    assertEquals(
        List.of("mlp.experts.*.up_proj", "self_attn.q_proj"),
        curves.curves().keySet().stream().sorted().toList());
    assertEquals(6.0, curves.curves().get("mlp.experts.*.up_proj").get(11));
    assertTrue(count(curves.draw("losses"), Sheet.BLUE) > 2000);
    assertThrows(
        IllegalArgumentException.class, () -> Plots.losses(Map.of("lm_head", 1.0), "none"));
  }

  @ParameterizedTest
  @CsvSource({
    "0, 10, 5, '0 2 4 6 8 10'",
    "-0.3, 0.3, 6, '-0.3 -0.2 -0.1 0 0.1 0.2 0.3'",
    "0, 58, 6, '0 10 20 30 40 50'",
    "0, 0.00003, 3, '0 1e-5 2e-5 3e-5'",
    "0, 4000000, 4, '0 1e6 2e6 3e6 4e6'",
  })
  void ticksAreRound(double low, double high, int about, String labels) {
    List<String> found =
        Ticks.within(low, high, about).ticks().stream().map(Ticks.Tick::label).toList();
    assertEquals(labels, String.join(" ", found));
  }

  @Test
  void axesReachAroundWhatTheyShow() {
    Ticks around = Ticks.around(0, 58, 6);
    assertEquals(60, around.high());
    assertEquals(0.5, around.place(30), 1e-12);
    Ticks powers = Ticks.powers(0.002, 3, 8);
    assertEquals(0.001, powers.low(), 1e-12);
    assertEquals(10, powers.high(), 1e-12);
    assertEquals(0.75, powers.place(1), 1e-12);
    List<String> ends = Ticks.indices(2, 9).ticks().stream().map(Ticks.Tick::label).toList();
    assertEquals(List.of("0", "1"), ends);
  }

  @Test
  void whatCannotBeDrawnIsSaid() {
    IllegalArgumentException flat =
        assertThrows(
            IllegalArgumentException.class, () -> Plots.surface(Ops.of(noise(4), 4), "flat"));
    assertTrue(flat.getMessage().startsWith("a surface needs two dimensions"), flat.getMessage());
    Tensor broken = Ops.of(new float[] {Float.NaN}, 1);
    assertThrows(IllegalArgumentException.class, () -> Plots.histogram(broken, "broken"));
    Tensor nothing = Ops.of(new float[0], 0, 4);
    assertThrows(IllegalArgumentException.class, () -> Plots.surface(nothing, "nothing"));
  }
}
