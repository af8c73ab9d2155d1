package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import fqt.tensor.BinaryOp;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PointwiseTwinTest {
  private static final float[] SPECIAL = {
    0f,
    -0f,
    1f,
    -1f,
    0.5f,
    20f,
    -20f,
    88f,
    88.7f,
    88.73f,
    89f,
    100f,
    -87f,
    -88f,
    -103f,
    -104f,
    -200f,
    1e-30f,
    -1e-30f,
    1e30f,
    Float.MIN_VALUE,
    Float.NaN,
    Float.POSITIVE_INFINITY
  };

  private final Random random = new Random(7);
  private Scope scope;

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @ParameterizedTest
  @EnumSource(BinaryOp.class)
  void binary(BinaryOp op) {
    for (int n : Twins.SIZES) {
      Tensor a = Twins.random(random, 3, n);
      Tensor b = Twins.random(random, 3, n);
      Twins.same(op + " " + n, DType.F32, new long[] {n}, (cpu, out) -> cpu.binary(op, a, b, out));
      Tensor rows = Twins.random(random, 3, 5, n);
      Twins.same(
          op + " 5 x " + n,
          DType.F32,
          new long[] {5, n},
          (cpu, out) -> cpu.binary(op, rows, b, out));
    }
    Tensor special = Ops.of(SPECIAL, SPECIAL.length);
    Tensor other = Twins.random(random, 1, SPECIAL.length);
    Twins.close(
        op + " of special numbers",
        0,
        new long[] {SPECIAL.length},
        (cpu, out) -> cpu.binary(op, special, other, out));
  }

  @ParameterizedTest
  @EnumSource(UnaryOp.class)
  void unary(UnaryOp op) {
    for (int n : Twins.SIZES) {
      Tensor x = op == UnaryOp.SQRT ? Ops.unary(UnaryOp.ABS, values(n)) : values(n);
      Twins.close(op + " " + n, 4e-7, new long[] {n}, (cpu, out) -> cpu.unary(op, x, out));
    }
    Tensor special = Ops.of(SPECIAL, SPECIAL.length);
    Twins.close(
        op + " of special numbers",
        4e-7,
        new long[] {SPECIAL.length},
        (cpu, out) -> cpu.unary(op, special, out));
  }

  private Tensor values(int n) {
    return Twins.random(random, 4, n);
  }

  @ParameterizedTest
  @EnumSource(UnaryOp.class)
  void gated(UnaryOp op) {
    for (int n : Twins.SIZES) {
      Tensor gate = op == UnaryOp.SQRT ? Ops.unary(UnaryOp.ABS, values(n)) : values(n);
      Tensor up = Twins.random(random, 1, n);
      Tensor product = Twins.empty(DType.F32, n);
      Twins.VECTOR.unary(op, gate, product);
      Twins.VECTOR.binary(BinaryOp.MULTIPLY, product, up, product);
      Tensor fused = Twins.dirty(DType.F32, n);
      Twins.VECTOR.gated(op, gate, up, fused);
      Twins.close(op + " " + n, 0, product.toFloats(), fused.toFloats());
    }
  }

  @Test
  void affine() {
    for (int n : Twins.SIZES) {
      Tensor x = Twins.random(random, 2, n);
      Twins.same("" + n, DType.F32, new long[] {n}, (cpu, out) -> cpu.affine(x, 1.7f, -3, out));
    }
  }

  /** Over the whole range, subnormal results included, against Math.exp. */
  @Test
  void expIsWithinOneUnitInTheLastPlace() {
    int count = 1 << 20;
    float[] x = new float[count];
    for (int i = 0; i < count; i++) {
      x[i] = -104 + 193f * i / count;
    }
    float[] y = Ops.unary(UnaryOp.EXP, Ops.of(x, count)).toFloats();
    double worst = 0;
    for (int i = 0; i < count; i++) {
      double exact = Math.exp(x[i]);
      if ((float) exact == Float.POSITIVE_INFINITY) {
        assertEquals(Float.POSITIVE_INFINITY, y[i]);
      } else {
        worst = Math.max(worst, Math.abs(y[i] - exact) / Math.ulp((float) exact));
      }
    }
    double largest = worst;
    assertTrue(worst <= 1, () -> "exp is wrong by " + largest + " units in the last place");
  }

  @Test
  void erfAgreesWithTabulatedValues() {
    assertEquals(0.520499877813046537682746653891965, Erf.erf(0.5), 1e-15);
    assertEquals(0.842700792949714869341220635082609, Erf.erf(1), 1e-15);
    assertEquals(-0.995322265018952734162069256367253, Erf.erf(-2), 1e-15);
    assertEquals(0.999593047982555041060435784260025, Erf.erf(2.5), 1e-15);
    assertEquals(0.999977909503001414558627223870418, Erf.erf(3), 1e-15);
    assertEquals(0, Erf.erf(0));
    assertEquals(1, Erf.erf(10));
  }

  @Test
  void aResultMayReplaceItsFirstOperand() {
    for (int n : Twins.SIZES) {
      Tensor a = Twins.random(random, 2, n);
      Tensor b = Twins.random(random, 2, n);
      float[] expected = Ops.multiply(a, b).toFloats();
      Ops.binaryInto(BinaryOp.MULTIPLY, a, b, a);
      Twins.close("in place", 0, expected, a.toFloats());
    }
  }
}
