package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The machine code of what is no product. */
class RowKernelsTest {
  private static final RowKernels KERNELS = KernelChoice.best().rows();

  private final Random random = new Random(23);
  private Scope scope;

  @BeforeEach
  void open() {
    assumeTrue(KERNELS != null, "no machine code here");
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    if (scope != null) {
      scope.close();
    }
  }

  /** {@code e^x} for x ≤ 0, and the sum. */
  private static float[] weights(float... x) {
    Tensor in = Ops.of(x, x.length);
    Tensor out = Twins.dirty(DType.F32, x.length);
    double sum =
        MachineRows.exp(KERNELS.exp(), in.segment(), 0, 0, out.segment(), 0, x.length, null);
    float[] y = out.toFloats();
    double expected = 0;
    for (float value : y) {
      expected += value;
    }
    assertEquals(expected, sum, 3e-7 * expected, "sum");
    return y;
  }

  @Test
  void weightsAreExponentials() {
    int count = 1 << 20;
    float[] x = new float[count];
    for (int i = 0; i < count; i++) {
      x[i] = -87.3f * i / count;
    }
    float[] y = weights(x);
    double worst = 0;
    for (int i = 0; i < count; i++) {
      double exact = Math.exp(x[i]);
      worst = Math.max(worst, Math.abs(y[i] - exact) / Math.ulp((float) exact));
    }
    double largest = worst;
    assertTrue(worst <= 1.03, () -> "wrong by " + largest + " units in the last place");
  }

  @Test
  void weightsOfSpecialNumbers() {
    float[] x = {0, -0f, -Float.MIN_VALUE, -88, -1000, -Float.MAX_VALUE, Float.NEGATIVE_INFINITY};
    assertArrayEquals(new float[] {1, 1, 1, 0, 0, 0, 0}, weights(x));
    float[] y = new float[3];
    Tensor nan = Ops.of(new float[] {-1, Float.intBitsToFloat(0x7fabcdef), -2}, 3);
    Tensor out = Twins.dirty(DType.F32, 3);
    double sum = MachineRows.exp(KERNELS.exp(), nan.segment(), 0, 0, out.segment(), 0, 3, null);
    assertTrue(Double.isNaN(sum));
    System.arraycopy(out.toFloats(), 0, y, 0, 3);
    assertTrue(!Float.isNaN(y[0]) && Float.isNaN(y[1]) && !Float.isNaN(y[2]));
  }

  @Test
  void theLargestOfEveryPlaceIsFound() {
    for (int n : Twins.SIZES) {
      float[] x = new float[n];
      for (int i = 0; i < n; i += Math.max(1, n / 40)) {
        Arrays.fill(x, -7);
        x[i] = -3;
        Tensor in = Ops.of(x, n);
        assertEquals(-3, MachineRows.max(KERNELS.exp(), in.segment(), 0, n), n + " at " + i);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = UnaryOp.class,
      names = {"SILU", "QUICK_GELU", "GELU_TANH"})
  void gatesAreRightToTheLastBits(UnaryOp op) {
    int count = 1 << 18;
    float[] x = new float[count];
    for (int i = 0; i < count; i++) {
      x[i] = -40 + 80f * i / count;
    }
    float[] y = Ops.unary(op, Ops.of(x, count)).toFloats();
    // The exponent of a large power of e carries the rounding of its argument.
    double units = op == UnaryOp.SILU ? 2.5 : 200;
    for (int i = 0; i < count; i++) {
      double exact = ScalarPointwise.apply(op, x[i]);
      // From e^88.4 on, which is infinite here, so little is left of x that nothing may be.
      double bound = units * Math.ulp((float) exact) + 5e-37;
      assertEquals(exact, y[i], bound, op + " of " + x[i]);
    }
  }

  /** Nothing is read or written behind the end, and a place in a run changes no bit. */
  @ParameterizedTest
  @EnumSource(
      value = UnaryOp.class,
      names = {"SILU", "QUICK_GELU", "GELU_TANH"})
  void gatesStayInside(UnaryOp op) {
    Tensor x = Twins.random(random, 4, 200);
    Tensor up = Twins.random(random, 1, 200);
    float[] plain = Ops.unary(op, x).toFloats();
    for (int n = 1; n <= 70; n++) {
      int skipped = random.nextInt(100);
      try (GuardedPages pages = new GuardedPages()) {
        Tensor a = pages.copy(x.slice(0, skipped, skipped + n));
        Tensor b = pages.copy(up.slice(0, skipped, skipped + n));
        Tensor out = pages.copy(a);
        Twins.VECTOR.gated(op, a, b, out);
        Twins.VECTOR.unary(op, a, a);
        for (int i = 0; i < n; i++) {
          assertEquals(plain[skipped + i], (float) a.get(i), op + " " + i + " of " + n);
          assertEquals((float) a.get(i) * (float) b.get(i), (float) out.get(i), "gated " + i);
        }
      }
    }
  }

  @Test
  void softmaxStaysInside() {
    for (int n = 1; n <= 70; n++) {
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x = pages.copy(Twins.random(random, 5, 3, n));
        Tensor out = pages.copy(x);
        Twins.VECTOR.softmax(x, out);
        Tensor twin = Twins.empty(DType.F32, 3, n);
        Twins.SCALAR.softmax(x, twin);
        Twins.close("softmax of " + n, 3e-7, twin.toFloats(), out.toFloats());
        Twins.VECTOR.softmax(x, x);
        assertArrayEquals(out.toFloats(), x.toFloats(), "in place");
      }
    }
  }

  @Test
  void normsStayInside() {
    for (int n = 1; n <= 40; n++) {
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x = pages.copy(Ops.affine(Twins.random(random, 2, 3, n), 1, 50));
        Tensor weight = pages.copy(Twins.random(random, 1, n));
        Tensor bias = pages.copy(Twins.random(random, 1, n));
        Tensor out = pages.copy(x);
        Tensor twin = Twins.empty(DType.F32, 3, n);
        Twins.VECTOR.rmsNorm(x, weight, 1e-6f, out);
        Twins.SCALAR.rmsNorm(x, weight, 1e-6f, twin);
        Twins.close("rms of " + n, 3e-7, twin.toFloats(), out.toFloats());
        Twins.VECTOR.layerNorm(x, weight, bias, 1e-5f, out);
        Twins.SCALAR.layerNorm(x, weight, bias, 1e-5f, twin);
        // A mean of 50 beside distances of 2 is an F32 with an error of 4e-6 at most.
        Twins.close("layer norm of " + n, 4e-6, twin.toFloats(), out.toFloats());
      }
    }
  }

  /** The first number far off, all numbers the same, infinity and NaN. */
  @Test
  void normsOfUnusualRows() {
    float[][] rows = new float[5][40];
    for (int i = 0; i < 40; i++) {
      rows[0][i] = i == 0 ? 1e6f : i % 7;
      rows[1][i] = 123.456f;
      rows[2][i] = i % 5 - 2;
      rows[3][i] = i == 17 ? Float.NaN : i;
      rows[4][i] = i == 3 ? Float.POSITIVE_INFINITY : i;
    }
    Tensor weight = Ops.full(Device.CPU, DType.F32, 1, 40);
    Tensor bias = Ops.full(Device.CPU, DType.F32, 0.5, 40);
    for (float[] row : rows) {
      Tensor x = Ops.of(row, 1, 40);
      long[] dims = {1, 40};
      String what = "row of " + row[0] + ", " + row[1];
      Twins.close(what, 1e-6, dims, (cpu, out) -> cpu.layerNorm(x, weight, bias, 1e-5f, out));
      Twins.close(what, 3e-7, dims, (cpu, out) -> cpu.rmsNorm(x, weight, 1e-5f, out));
    }
  }

  /** Equal to the twin, code for code, NaN and infinity among them, and nothing behind the end. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"I8", "U8"})
  void codesStayInsideAndEqualTheirTwin(DType type) {
    float low = type == DType.I8 ? -127 : 0;
    float high = type == DType.I8 ? 127 : 255;
    for (int n : new int[] {1, 16, 31, 32, 33, 64, 96, 100, 128, 224}) {
      for (int group : new int[] {n, 32, 64}) {
        Blocks blocks = group == n ? Blocks.PER_ROW : Blocks.perGroup(group);
        int wide = Math.ceilDiv(n, group);
        try (GuardedPages pages = new GuardedPages()) {
          Tensor x = pages.copy(Twins.random(random, 60, 3, n));
          float[] special = {Float.NaN, Float.POSITIVE_INFINITY, -Float.MAX_VALUE, 0.5f, -0.5f};
          for (float value : special) {
            Element.f32(x.segment(), n + random.nextInt(2 * n), value);
          }
          Tensor scale = pages.copy(Ops.unary(UnaryOp.ABS, Twins.random(random, 1, 3, wide)));
          Element.f32(scale.segment(), wide - 1, 0);
          Tensor zero = type == DType.I8 ? null : pages.copy(Twins.empty(DType.F32, 3, wide));
          for (int i = 0; zero != null && i < 3 * wide; i++) {
            Element.f32(zero.segment(), i, random.nextInt(256));
          }
          Tensor codes = pages.copy(Twins.dirty(type, 3, n));
          Tensor twin = Twins.empty(type, 3, n);
          Twins.VECTOR.quantize(x, blocks, scale, zero, low, high, codes);
          Twins.SCALAR.quantize(x, blocks, scale, zero, low, high, twin);
          assertArrayEquals(Twins.bytes(twin), Twins.bytes(codes), "codes of " + n);
          Tensor values = pages.copy(x);
          Tensor twinValues = Twins.empty(DType.F32, 3, n);
          Twins.VECTOR.dequantize(codes, blocks, scale, zero, values);
          Twins.SCALAR.dequantize(codes, blocks, scale, zero, twinValues);
          assertArrayEquals(Twins.bytes(twinValues), Twins.bytes(values), "values of " + n);
        }
      }
    }
  }

  @Test
  void rangesStayInsideAndEqualTheirTwin() {
    float[] special = {
      0, -0f, Float.NaN, Float.NEGATIVE_INFINITY, Float.MAX_VALUE, Float.MIN_VALUE, -3
    };
    long[] dims = {3, 1};
    Tensor other = Twins.empty(DType.F32, dims);
    for (int n = 1; n <= 100; n++) {
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x = pages.copy(Ops.unary(UnaryOp.ABS, Twins.random(random, 1, 3, n)));
        Element.f32(x.segment(), random.nextInt(3 * n), special[n % special.length]);
        Element.f32(x.segment(), random.nextInt(3 * n), special[n / 7 % special.length]);
        Twins.same(
            "least of " + n,
            DType.F32,
            dims,
            (cpu, out) -> cpu.blockRange(x, Blocks.PER_ROW, out, other));
        Twins.same(
            "most of " + n,
            DType.F32,
            dims,
            (cpu, out) -> cpu.blockRange(x, Blocks.PER_ROW, other, out));
      }
    }
  }

  /** Every code, and beside and halfway between all neighbours, where rounding changes its mind. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F8_E4M3", "F8_E5M2"})
  void float8IsExactAndTiesGoToEven(DType type) {
    Tensor codes = Twins.empty(type, 256);
    for (int i = 0; i < 256; i++) {
      codes.segment().set(Element.BYTE, i, (byte) i);
    }
    for (DType wide : new DType[] {DType.F32, DType.BF16}) {
      Twins.same(type + " to " + wide, wide, new long[] {256}, (cpu, out) -> cpu.copy(codes, out));
    }
    float[] values = Ops.to(codes, DType.F32).toFloats();
    float[] near = new float[6 * 256];
    for (int i = 0; i < 256; i++) {
      float middle = (values[i] + values[i + 1 & 0xff]) / 2;
      float[] hard = {
        values[i],
        Math.nextUp(values[i]),
        Math.nextDown(values[i]),
        middle,
        Math.nextUp(middle),
        Math.nextDown(middle)
      };
      System.arraycopy(hard, 0, near, 6 * i, 6);
    }
    Tensor x = Ops.of(near, near.length);
    long[] dims = {near.length};
    Twins.same("ties to " + type, type, dims, (cpu, out) -> cpu.copy(x, out));
    Tensor half = Ops.to(x, DType.BF16);
    Twins.same("BF16 ties to " + type, type, dims, (cpu, out) -> cpu.copy(half, out));
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"BF16", "F16"})
  void halvesStayInsideAndEqualTheirTwin(DType type) {
    for (int n : new int[] {1, 31, 32, 33, 63, 64, 65, 100, 1056}) {
      try (GuardedPages pages = new GuardedPages()) {
        Tensor x = pages.copy(Twins.random(random, 100, 3, n));
        for (int bits : new int[] {0x7f800001, 0xffffffff, 0xff800000, 0x7f7fffff, 1, 0x477ff000}) {
          x.segment().set(Element.INT, 4L * random.nextInt(3 * n), bits);
        }
        Tensor codes = pages.copy(Twins.dirty(type, 3, n));
        Tensor twin = Twins.empty(type, 3, n);
        Twins.VECTOR.copy(x, codes);
        Twins.SCALAR.copy(x, twin);
        assertArrayEquals(Twins.bytes(twin), Twins.bytes(codes), "F32 to codes of " + n);
        Tensor back = pages.copy(x);
        Tensor twinBack = Twins.empty(DType.F32, 3, n);
        Twins.VECTOR.copy(codes, back);
        Twins.SCALAR.copy(codes, twinBack);
        assertArrayEquals(Twins.bytes(twinBack), Twins.bytes(back), "codes to F32");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F8_E4M3", "F8_E5M2"})
  void float8StaysInside(DType type) {
    float most = type == DType.F8_E4M3 ? 448 : 57344;
    for (int n : new int[] {1, 31, 32, 33, 63, 64, 65, 100, 1056}) {
      for (DType wide : new DType[] {DType.F32, DType.BF16}) {
        try (GuardedPages pages = new GuardedPages()) {
          Tensor x = pages.copy(Ops.to(Twins.random(random, most / 3, 3, n), wide));
          Element.setFloat(x.segment(), wide, random.nextInt(3 * n), Float.NaN);
          Element.setFloat(x.segment(), wide, random.nextInt(3 * n), Float.NEGATIVE_INFINITY);
          Tensor codes = pages.copy(Twins.dirty(type, 3, n));
          Tensor twin = Twins.empty(type, 3, n);
          Twins.VECTOR.copy(x, codes);
          Twins.SCALAR.copy(x, twin);
          assertArrayEquals(Twins.bytes(twin), Twins.bytes(codes), wide + " to codes of " + n);
          Tensor back = pages.copy(x);
          Tensor twinBack = Twins.empty(wide, 3, n);
          Twins.VECTOR.copy(codes, back);
          Twins.SCALAR.copy(codes, twinBack);
          assertArrayEquals(Twins.bytes(twinBack), Twins.bytes(back), "codes to " + wide);
          if (wide == DType.F32) {
            Tensor scale = pages.copy(Ops.full(Device.CPU, DType.F32, 0.3, 3, 1));
            Element.f32(scale.segment(), 1, 0.7f);
            Twins.VECTOR.quantize(x, Blocks.PER_ROW, scale, null, -most, most, codes);
            Twins.SCALAR.quantize(x, Blocks.PER_ROW, scale, null, -most, most, twin);
            assertArrayEquals(Twins.bytes(twin), Twins.bytes(codes), "quantized " + n);
          }
        }
      }
    }
  }
}
