package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ScaledProductTest {
  private static Tensor codes(Random random, DType type, long rows, long columns) {
    Tensor codes = Ops.empty(Device.CPU, type, rows, columns);
    for (long i = 0; i < rows * columns; i++) {
      byte code = (byte) random.nextInt(256);
      boolean nan = type == DType.F8_E4M3 && (code & 0x7f) == 0x7f;
      codes.segment().set(Element.BYTE, i, nan ? 0 : code);
    }
    return codes;
  }

  private static Tensor scales(Random random, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextFloat() + 0.5f;
    }
    return Ops.of(values, count);
  }

  @ParameterizedTest
  @CsvSource({
    "I8, 1, 1, 1",
    "I8, 7, 33, 17",
    "I8, 63, 1024, 31",
    "I8, 65, 1025, 33",
    "I8, 3, 3100, 129",
    "I8, 600, 1030, 7",
    "F8_E4M3, 1, 17, 3",
    "F8_E4M3, 33, 129, 65"
  })
  void agreesWithItsScalarTwin(DType type, int rows, int terms, int outputs) {
    try (Scope scope = Scope.open()) {
      Random random = new Random(rows * 31L + terms);
      Tensor x = codes(random, type, rows, terms);
      Tensor w = codes(random, type, outputs, terms);
      Tensor xScale = scales(random, rows);
      Tensor wScale = scales(random, outputs);
      Tensor bias = Ops.to(scales(random, outputs), DType.BF16);
      Tensor found = QuantOps.scaledLinear(x, xScale, w, wScale, bias);
      Tensor expected = Ops.empty(x.device(), DType.F32, rows, outputs);
      ScalarMatrix.scaledLinear(x, xScale, w, wScale, bias, expected);
      double largest = type == DType.I8 ? 16384.0 * terms : 448.0 * 448 * terms;
      for (int m = 0; m < rows; m++) {
        for (int n = 0; n < outputs; n++) {
          double value = expected.get(m, n);
          double rounding = type == DType.I8 ? Math.abs(value) + 1 : largest;
          assertEquals(value, found.get(m, n), 3e-7 * rounding);
        }
      }
    }
  }

  @Test
  void sumsOfLongRowsAreExact() {
    try (Scope scope = Scope.open()) {
      int terms = 5000;
      Tensor x = Ops.full(Device.CPU, DType.I8, 127, 1, terms);
      Tensor w = Ops.full(Device.CPU, DType.I8, 127, 1, terms);
      // 127² · 5000 − 127 · 126 loses its last bits in any f32 sum of all terms.
      x.segment().set(Element.BYTE, 0, (byte) 1);
      Tensor one = Ops.of(new float[] {1}, 1);
      float sum = QuantOps.scaledLinear(x, one, w, one, null).toFloats()[0];
      assertEquals((float) (127 * 127 * 4999 + 127), sum);
    }
  }
}
