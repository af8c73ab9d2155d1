package fqt.quant;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.Axis;
import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Host;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class QuantizerTest {
  private static final List<Blocks> GRANULARITIES =
      List.of(
          Blocks.PER_TENSOR,
          Blocks.PER_ROW,
          Blocks.PER_COLUMN,
          Blocks.perGroup(16),
          new Blocks(5, 8));

  static Stream<Quantizer> quantizers() {
    List<Quantizer> all = new ArrayList<>();
    for (Blocks blocks : GRANULARITIES) {
      for (int bits = 2; bits <= 8; bits++) {
        Quantizer quantizer = Quantizer.integer(bits, blocks);
        all.add(quantizer.withScaleType(DType.F16));
        all.add(quantizer.withRule(ScaleRule.RESTRICTED_RANGE).withScaleType(DType.BF16));
        all.add(quantizer.withSymmetric(false));
      }
      all.add(Quantizer.fp8(blocks));
    }
    return all.stream();
  }

  /** The largest and the smallest element of the block that an element is in. */
  private static double[] range(Tensor x, Blocks blocks, long row, long column) {
    long rows = blocks.rowsOf(x.dim(0));
    long columns = blocks.columnsOf(x.dim(1));
    double low = Double.POSITIVE_INFINITY;
    double high = Double.NEGATIVE_INFINITY;
    for (long i = row / rows * rows; i < Math.min(x.dim(0), (row / rows + 1) * rows); i++) {
      long end = Math.min(x.dim(1), (column / columns + 1) * columns);
      for (long j = column / columns * columns; j < end; j++) {
        low = Math.min(low, x.get(i, j));
        high = Math.max(high, x.get(i, j));
      }
    }
    return new double[] {low, high};
  }

  private static double expectedScale(Quantizer quantizer, double[] range) {
    double magnitude = Math.max(-range[0], range[1]);
    if (quantizer.codes() == DType.F8_E4M3) {
      return magnitude / 448;
    }
    int levels = (1 << quantizer.bits()) - 1;
    if (!quantizer.symmetric()) {
      return (Math.max(range[1], 0) - Math.min(range[0], 0)) / levels;
    }
    return quantizer.rule() == ScaleRule.FULL_RANGE
        ? magnitude / (levels / 2.0)
        : magnitude / ((1 << (quantizer.bits() - 1)) - 1);
  }

  @ParameterizedTest
  @MethodSource("quantizers")
  void scalesCoverTheBlockAndErrorsStayWithinHalfAStep(Quantizer quantizer) {
    try (Scope scope = Scope.open()) {
      Tensor x = new Nets(7).gaussian(1, 7, 33);
      Quantizer.Params params = quantizer.fit(x);
      QuantizedWeight quantized = quantizer.quantize(x);
      Tensor back = quantized.dequantize();
      Tensor fake = quantizer.fake(x);
      Blocks blocks = quantizer.blocks();
      for (long i = 0; i < x.dim(0); i++) {
        for (long j = 0; j < x.dim(1); j++) {
          long row = i / blocks.rowsOf(7);
          long column = j / blocks.columnsOf(33);
          double[] range = range(x, blocks, i, j);
          double scale = params.scale().get(row, column);
          double rounding = quantizer.scaleType() == DType.BF16 ? 0x1p-8 : 0x1p-11;
          double expected = expectedScale(quantizer, range);
          assertEquals(expected, scale, expected * rounding);
          assertEquals(back.get(i, j), fake.get(i, j));
          double step =
              quantizer.codes() == DType.F8_E4M3
                  ? Math.max(Math.abs(x.get(i, j)) / 16, scale * 0x1p-9)
                  : scale / 2;
          // The top of a symmetric full range, and of a rounded scale, saturates.
          double saturated =
              quantizer.symmetric() && quantizer.rule() == ScaleRule.FULL_RANGE ? scale / 2 : 0;
          double allowed = step * 1.001 + saturated + rounding * Math.max(-range[0], range[1]);
          if (!quantizer.symmetric()) {
            allowed += scale / 2;
          }
          assertEquals(x.get(i, j), back.get(i, j), allowed);
        }
      }
    }
  }

  @Test
  void scalesAreExactInTheirType() {
    try (Scope scope = Scope.open()) {
      Tensor x = new Nets(8).gaussian(0.01, 13, 65);
      for (DType type : List.of(DType.F16, DType.BF16)) {
        Quantizer quantizer = Quantizer.integer(4, Blocks.perGroup(32)).withScaleType(type);
        Tensor scale = quantizer.fit(x).scale();
        Tensor rounded = Ops.to(Ops.to(scale, type), DType.F32);
        assertEquals(
            0, Host.sum(Ops.reduce(ReduceOp.MAX_ABS, Axis.ROWS, Ops.subtract(scale, rounded))));
      }
    }
  }

  @Test
  void halfwayGoesToEven() {
    try (Scope scope = Scope.open()) {
      Quantizer quantizer =
          Quantizer.integer(8, Blocks.PER_ROW).withRule(ScaleRule.RESTRICTED_RANGE);
      Tensor x = Ops.of(new float[] {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127}, 1, 8);
      long[] codes = quantizer.quantize(x).codes().toLongs();
      long[] expected = {255, 128, 130, 130, 128, 126, 126, 1};
      for (int i = 0; i < codes.length; i++) {
        assertEquals(expected[i], codes[i], "element " + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("quantizers")
  void zerosStayZero(Quantizer quantizer) {
    try (Scope scope = Scope.open()) {
      Tensor x = Ops.zeros(fqt.tensor.Device.CPU, DType.F32, 3, 17);
      for (float value : quantizer.fake(x).toFloats()) {
        assertEquals(0, value);
      }
    }
  }

  @Test
  void searchLowersTheErrorOfEveryBlock() {
    try (Scope scope = Scope.open()) {
      Tensor x = new Nets(9).gaussian(1, 9, 70);
      for (Quantizer plain :
          List.of(
              Quantizer.integer(3, Blocks.perGroup(32)),
              Quantizer.integer(3, Blocks.perGroup(32)).withSymmetric(false))) {
        Quantizer searching = plain.withSearch(true);
        float[] before = plain.error(x, plain.fit(x)).toFloats();
        float[] after = searching.error(x, searching.fit(x)).toFloats();
        double sumBefore = 0;
        double sumAfter = 0;
        for (int i = 0; i < before.length; i++) {
          assertTrue(after[i] <= before[i]);
          sumBefore += before[i];
          sumAfter += after[i];
        }
        assertTrue(sumAfter < 0.95 * sumBefore, sumAfter + " against " + sumBefore);
      }
    }
  }

  @Test
  void tinyScalesDoNotVanish() {
    try (Scope scope = Scope.open()) {
      Tensor x = new Nets(9).gaussian(1e-9, 2, 32);
      Quantizer quantizer = Quantizer.integer(4, Blocks.PER_ROW).withScaleType(DType.F16);
      assertTrue(quantizer.fit(x).scale().get(0, 0) > 0);
      for (float value : quantizer.fake(x).toFloats()) {
        assertTrue(Float.isFinite(value));
      }
    }
  }

  @Test
  void refusesWhatDoesNotExist() {
    assertThrows(IllegalArgumentException.class, () -> Quantizer.integer(9, Blocks.PER_ROW));
    assertThrows(
        IllegalArgumentException.class, () -> Quantizer.fp8(Blocks.PER_ROW).withSymmetric(false));
    try (Scope scope = Scope.open()) {
      Tensor large = Ops.full(fqt.tensor.Device.CPU, DType.F32, 1e9, 2, 8);
      Quantizer half = Quantizer.integer(4, Blocks.PER_ROW).withScaleType(DType.F16);
      IllegalArgumentException error =
          assertThrows(IllegalArgumentException.class, () -> half.quantize(large));
      assertEquals(
          "a scale does not fit the type F16; store scales as BF16 or F32", error.getMessage());
      assertNull(Quantizer.fp8(Blocks.PER_ROW).fit(large).zero());
    }
  }
}
