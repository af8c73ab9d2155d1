package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.DType;
import fqt.tensor.Float8;
import fqt.tensor.Ops;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ConversionTwinTest {
  private static final int VIEWS = 8;

  private final Random random = new Random(17);
  private Scope scope;

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  /** Every code of the small types, and hard cases of the large ones, to every type. */
  @ParameterizedTest
  @EnumSource(DType.class)
  void everyTypeToEveryType(DType source) {
    Tensor x = everyCode(source);
    for (DType target : DType.values()) {
      Twins.same(
          source + " to " + target, target, x.shape().toArray(), (cpu, out) -> cpu.copy(x, out));
    }
  }

  private Tensor everyCode(DType dtype) {
    int count = dtype.byteSize() == 1 ? 256 : 1 << 16;
    Tensor x = Twins.empty(dtype, dtype == DType.BOOL ? 2 : count);
    for (int i = 0; i < x.count(); i++) {
      switch (dtype.byteSize()) {
        case 1 -> x.segment().set(Element.BYTE, i, (byte) i);
        case 2 -> x.segment().set(Element.SHORT, 2L * i, (short) i);
        case 4 ->
            x.segment().set(Element.INT, 4L * i, dtype == DType.F32 ? hardFloat(i) : hardInt(i));
        default -> x.segment().set(Element.LONG, 8L * i, hardLong(i));
      }
    }
    return x;
  }

  /** Bits of floats on and beside the places where rounding to fewer bits changes its mind. */
  private int hardFloat(int i) {
    int near = random.nextInt(3) - 1;
    return switch (i % 6) {
      case 0 -> random.nextInt();
      case 1 -> Float.floatToIntBits(Float8.e4m3ToFloat((byte) i) * 1.0625f) + near;
      case 2 -> Float.floatToIntBits(Float8.e5m2ToFloat((byte) (i >> 3)) * 1.125f) + near;
      case 3 -> (i << 16 | 0x8000) + near;
      case 4 -> Float.floatToIntBits(Float.float16ToFloat((short) i)) + (near << 12);
      default -> Float.floatToIntBits((random.nextInt(1 << 17) - (1 << 16)) / 2f);
    };
  }

  private int hardInt(int i) {
    return random.nextInt() >> i % 32;
  }

  private long hardLong(int i) {
    return random.nextLong() >> i % 64;
  }

  /** What a small float type can hold survives the way through F32. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void codesSurviveF32(DType dtype) {
    Tensor x = everyCode(dtype);
    Tensor back = Ops.to(Ops.to(x, DType.F32), dtype);
    for (long i = 0; i < x.count(); i++) {
      double value = x.get(i);
      // The F8 types saturate: an infinity comes back as the largest number.
      boolean infinite = Double.isInfinite(value) && dtype == DType.F8_E5M2;
      assertEquals(infinite ? Math.copySign(57344, value) : value, back.get(i), dtype + " " + i);
    }
  }

  @Test
  void roundingIsToNearestEvenAndSaturates() {
    float[] x = {0.5f, 1.5f, -2.5f, 1e10f, -1e10f, Float.NaN, 300, -300, 127.5f};
    assertArrayEquals(
        new long[] {0, 2, -2, 127, -128, 0, 127, -128, 127},
        Ops.to(Ops.of(x, 9), DType.I8).toLongs());
    assertArrayEquals(
        new long[] {0, 2, 0, 255, 0, 0, 255, 0, 128}, Ops.to(Ops.of(x, 9), DType.U8).toLongs());
    assertArrayEquals(
        new long[] {1, 1, 1, 1, 1, 1, 1, 1, 1}, Ops.to(Ops.of(x, 9), DType.BOOL).toLongs());
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void transposes(DType dtype) {
    for (int rows : new int[] {1, 3, 64, 65, 130}) {
      for (int columns : new int[] {1, 7, 64, 129}) {
        Tensor x = Ops.to(Twins.random(random, 30, rows, columns), dtype);
        Tensor turned = x.transpose(0, 1);
        long[] dims = {columns, rows};
        Twins.same(dtype + " " + x, dtype, dims, (cpu, out) -> cpu.copy(turned, out));
        Twins.same(dtype + " " + x, DType.F32, dims, (cpu, out) -> cpu.copy(turned, out));
        Twins.same(
            dtype + " " + x,
            dtype,
            new long[] {rows, columns},
            (cpu, out) -> cpu.copy(Ops.contiguous(turned), out.transpose(0, 1)));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16", "I64", "U8"})
  void views(DType dtype) {
    Tensor x = Ops.to(Twins.random(random, 30, 5, 70, 3, 66), dtype);
    for (int i = 0; i < VIEWS; i++) {
      Tensor view = view(x, i);
      for (DType target : new DType[] {dtype, DType.F32, DType.I16}) {
        Twins.same(
            "copy " + view, target, view.shape().toArray(), (cpu, out) -> cpu.copy(view, out));
      }
    }
    for (int i = 0; i < VIEWS; i++) {
      int which = i;
      Tensor source = Twins.random(random, 30, view(x, i).shape().toArray());
      Twins.same(
          "copy into view " + i,
          DType.F32,
          x.shape().toArray(),
          (cpu, out) -> cpu.copy(source, view(out, which)));
    }
  }

  private static Tensor view(Tensor x, int which) {
    return switch (which) {
      case 0 -> x.slice(1, 2, 69);
      case 1 -> x.slice(3, 1, 66);
      case 2 -> x.transpose(0, 3);
      case 3 -> x.transpose(1, 2).slice(1, 1, 3);
      case 4 -> x.transpose(1, 3).slice(2, 0, 2);
      case 5 -> x.select(3, 5);
      case 6 -> x.select(2, 1).transpose(0, 2);
      default -> x.select(0, 0).select(0, 0).select(0, 0).select(0, 7);
    };
  }

  @ParameterizedTest
  @EnumSource(DType.class)
  void fills(DType dtype) {
    for (int n : Twins.SIZES) {
      for (double value : new double[] {0, 1, -2.5, 300}) {
        String what = dtype + " " + n + " of " + value;
        Twins.same(what, dtype, new long[] {n}, (cpu, out) -> cpu.fill(out, value));
        Twins.same(
            what, dtype, new long[] {3, n}, (cpu, out) -> cpu.fill(out.slice(1, 0, n / 2), value));
        Twins.same(what, dtype, new long[] {3, n}, (cpu, out) -> cpu.fill(out.select(1, 0), value));
      }
    }
  }

  @Test
  void emptyTensors() {
    Tensor empty = Twins.empty(DType.F32, 0, 5);
    assertEquals(0, Ops.to(empty, DType.BF16).count());
    assertEquals(0, Ops.contiguous(empty.transpose(0, 1)).count());
    Ops.fill(empty, 1);
  }
}
