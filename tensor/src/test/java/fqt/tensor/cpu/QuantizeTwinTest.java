package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import fqt.tensor.Blocks;
import fqt.tensor.DType;
import fqt.tensor.Device;
import fqt.tensor.Ops;
import fqt.tensor.PackedWeight;
import fqt.tensor.QuantOps;
import fqt.tensor.Scope;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QuantizeTwinTest {
  private static final List<Blocks> BLOCKS =
      List.of(
          Blocks.PER_TENSOR,
          Blocks.PER_ROW,
          Blocks.PER_COLUMN,
          Blocks.perGroup(32),
          Blocks.perGroup(5),
          new Blocks(4, 4),
          new Blocks(2, 0),
          new Blocks(130, 1));

  private final Random random = new Random(13);
  private Scope scope;

  @BeforeEach
  void open() {
    scope = Scope.open();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  @Test
  void blockRange() {
    for (Blocks blocks : BLOCKS) {
      for (int rows : new int[] {1, 6, 150}) {
        for (int columns : new int[] {1, 7, 33, 129, 1100}) {
          Tensor x = Twins.random(random, 2, rows, columns);
          long[] dims = blocks.scaleShape(rows, columns).toArray();
          String what = blocks + " of " + x;
          Tensor other = Twins.empty(DType.F32, dims);
          Twins.same(what, DType.F32, dims, (cpu, out) -> cpu.blockRange(x, blocks, out, other));
          Twins.same(what, DType.F32, dims, (cpu, out) -> cpu.blockRange(x, blocks, other, out));
        }
      }
    }
  }

  @Test
  void integerCodes() {
    for (Blocks blocks : BLOCKS) {
      for (int columns : new int[] {1, 7, 33, 129, 1100}) {
        Tensor x = Twins.random(random, 2, 6, columns);
        Element.f32(x.segment(), columns / 2, Float.NaN);
        Shape shape = blocks.scaleShape(6, columns);
        Tensor scale = positive(shape);
        Tensor zero = wholeNumbers(shape);
        check(x, blocks, scale, null, -8, 7, DType.I8);
        check(x, blocks, scale, zero, 0, 15, DType.U8);
        check(x, blocks, scale, zero, 0, 255, DType.U8);
      }
    }
  }

  /** Numbers at which orders, roundings and bounds go wrong first, in vectors and behind them. */
  private static final float[] EXTREMES = {
    Float.POSITIVE_INFINITY,
    Float.NEGATIVE_INFINITY,
    Float.MAX_VALUE,
    -Float.MAX_VALUE,
    Float.MIN_VALUE,
    -0f,
    0f,
    0x1p22f + 0.5f,
    -0x1p22f - 0.5f,
    0x1p31f,
    126.5f,
    -127.5f,
    Float.NaN,
    Float.intBitsToFloat(0xffc00001)
  };

  @Test
  void extremesAreNotLost() {
    for (int place = 0; place < 70; place += 3) {
      for (float extreme : EXTREMES) {
        Tensor x = Twins.random(random, 2, 1, 70);
        Element.f32(x.segment(), place, extreme);
        String what = extreme + " at " + place;
        Tensor other = Twins.empty(DType.F32, 1, 1);
        long[] one = {1, 1};
        Blocks row = Blocks.PER_ROW;
        Twins.close(what, 0, one, (cpu, out) -> cpu.blockRange(x, row, out, other));
        Twins.close(what, 0, one, (cpu, out) -> cpu.blockRange(x, row, other, out));
        Tensor scale = Ops.full(Device.CPU, DType.F32, 1, 1, 1);
        Tensor zero = Ops.full(Device.CPU, DType.F32, 128, 1, 1);
        long[] all = {1, 70};
        Twins.same(
            what, DType.I8, all, (cpu, out) -> cpu.quantize(x, row, scale, null, -127, 127, out));
        Twins.same(
            what, DType.U8, all, (cpu, out) -> cpu.quantize(x, row, scale, zero, 0, 255, out));
      }
    }
  }

  @Test
  void rowsByTheirLargestMagnitude() {
    for (DType type : List.of(DType.I8, DType.F8_E4M3)) {
      for (int columns : new int[] {1, 7, 31, 32, 33, 64, 129, 1100, 4128}) {
        checkRows(type, Twins.random(random, 2, 6, columns));
        Tensor zeros = Ops.full(Device.CPU, DType.F32, 0, 3, columns);
        checkRows(type, zeros);
        checkRows(type, Ops.affine(Twins.random(random, 2, 3, columns), 0x1p-130f, 0));
        for (float extreme : EXTREMES) {
          Tensor x = Twins.random(random, 2, 3, columns);
          Element.f32(x.segment(), columns + columns / 2, extreme);
          checkRows(type, x);
        }
      }
    }
  }

  private static void checkRows(DType type, Tensor x) {
    long[] dims = x.shape().toArray();
    long[] perRow = {dims[0], 1};
    Tensor scale = Twins.empty(DType.F32, perRow);
    Tensor codes = Twins.empty(type, dims);
    String what = type + " rows of " + x;
    Twins.same(what, type, dims, (cpu, out) -> cpu.quantizeRows(x, out, scale));
    Twins.close(what, 0, perRow, (cpu, out) -> cpu.quantizeRows(x, codes, out));
    float low = type == DType.I8 ? -128 : -448;
    float high = type == DType.I8 ? 127 : 448;
    Tensor same = QuantOps.quantize(x, Blocks.PER_ROW, scale, null, low, high, type);
    assertArrayEquals(Twins.bytes(same), Twins.bytes(codes), what);
  }

  @Test
  void largestMagnitudeIsTheLargestCode() {
    QuantOps.RowCodes rows =
        QuantOps.quantizeRows(Ops.of(new float[] {1, -4, 2, 0}, 2, 2), DType.I8);
    assertArrayEquals(new long[] {32, -127, 127, 0}, rows.codes().toLongs());
    assertArrayEquals(new float[] {4 / 127f, 2 / 127f}, rows.scale().toFloats());
  }

  @Test
  void float8Codes() {
    for (Blocks blocks : BLOCKS) {
      for (int columns : new int[] {1, 33, 1100}) {
        Tensor x = Twins.random(random, 200, 6, columns);
        Tensor scale = positive(blocks.scaleShape(6, columns));
        check(x, blocks, scale, null, -448, 448, DType.F8_E4M3);
        check(x, blocks, scale, null, -57344, 57344, DType.F8_E5M2);
      }
    }
  }

  @Test
  void halvesAreRoundedToEven() {
    float[] x = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 9, -9, 0.49999997f, Float.NaN};
    Tensor one = Ops.full(Device.CPU, DType.F32, 1, 1, 1);
    Tensor codes =
        QuantOps.quantize(Ops.of(x, 1, 10), Blocks.PER_TENSOR, one, null, -8, 7, DType.I8);
    assertArrayEquals(new long[] {0, 2, 2, 0, -2, -2, 7, -8, 0, 0}, codes.toLongs());
  }

  private void check(
      Tensor x, Blocks blocks, Tensor scale, Tensor zero, float low, float high, DType dtype) {
    long[] dims = x.shape().toArray();
    String what = dtype + ", " + blocks + " of " + x;
    Twins.same(
        what, dtype, dims, (cpu, out) -> cpu.quantize(x, blocks, scale, zero, low, high, out));
    Twins.same(
        what,
        DType.F32,
        dims,
        (cpu, out) -> cpu.fakeQuantize(x, blocks, scale, zero, low, high, dtype, out));
    Twins.close(
        what,
        1e-6,
        scale.shape().toArray(),
        (cpu, out) -> cpu.quantizationError(x, blocks, scale, zero, low, high, dtype, out));
    Tensor codes = QuantOps.quantize(x, blocks, scale, zero, low, high, dtype);
    for (DType target : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      Twins.same(what, target, dims, (cpu, out) -> cpu.dequantize(codes, blocks, scale, zero, out));
    }
    Tensor back = QuantOps.dequantize(codes, blocks, scale, zero, DType.F32);
    Tensor fake = QuantOps.fakeQuantize(x, blocks, scale, zero, low, high, dtype);
    assertArrayEquals(Twins.bytes(back), Twins.bytes(fake), what);
  }

  private Tensor positive(Shape shape) {
    Tensor x = Ops.unary(UnaryOp.ABS, Twins.random(random, 1, shape.toArray()));
    return Ops.affine(x, 1, 0.01f);
  }

  private Tensor wholeNumbers(Shape shape) {
    Tensor x = Twins.empty(DType.F32, shape.toArray());
    for (long i = 0; i < x.count(); i++) {
      Element.f32(x.segment(), i, random.nextInt(16));
    }
    return x;
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5, 6, 7, 8})
  void packing(int bits) {
    for (int columns : Twins.SIZES) {
      Tensor codes = Twins.empty(DType.U8, 3, columns);
      for (long i = 0; i < codes.count(); i++) {
        codes.segment().set(Element.BYTE, i, (byte) random.nextInt(1 << bits));
      }
      long[] dims = {3, PackedWeight.wordsPerRow(columns, bits)};
      String what = bits + " bits, " + columns + " columns";
      Twins.same(what, DType.I32, dims, (cpu, out) -> cpu.pack(codes, bits, out));
      Tensor words = QuantOps.pack(codes, bits);
      assertArrayEquals(codes.toLongs(), QuantOps.unpack(words, bits, columns).toLongs(), what);
      Twins.same(
          what, DType.U8, new long[] {3, columns}, (cpu, out) -> cpu.unpack(words, bits, out));
    }
  }

  @Test
  void packedCodesLieWhereTheFormatSays() {
    Tensor codes = Twins.empty(DType.U8, 1, 11);
    for (int i = 0; i < 11; i++) {
      codes.segment().set(Element.BYTE, i, (byte) (i % 8));
    }
    assertArrayEquals(new long[] {0x76543210, 0x210}, QuantOps.pack(codes, 4).toLongs());
    // 3 bits: code 10 (2 = 0b010) has its lowest two bits in word 0, its highest in word 1
    int first = 0;
    for (int i = 0; i < 10; i++) {
      first |= i % 8 << 3 * i;
    }
    assertArrayEquals(new long[] {first | 2 << 30, 0}, QuantOps.pack(codes, 3).toLongs());
  }
}
