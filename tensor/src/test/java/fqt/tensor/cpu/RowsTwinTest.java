package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.Axis;
import fqt.tensor.Backend;
import fqt.tensor.DType;
import fqt.tensor.Ops;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RowsTwinTest {
  private final Random random = new Random(11);
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
  void norms() {
    for (int k : Twins.SIZES) {
      Tensor x = Ops.affine(Twins.random(random, 2, 3, k), 1, 0.5f);
      Tensor weight = Ops.to(Twins.random(random, 1, k), DType.BF16);
      Tensor bias = Ops.to(Twins.random(random, 1, k), DType.F16);
      long[] dims = {3, k};
      Twins.close("rms " + k, 3e-7, dims, (cpu, out) -> cpu.rmsNorm(x, weight, 1e-6f, out));
      Twins.close(
          "layer " + k, 1e-6, dims, (cpu, out) -> cpu.layerNorm(x, weight, bias, 1e-5f, out));
    }
  }

  @Test
  void softmaxAndCrossEntropy() {
    for (int k : Twins.SIZES) {
      Tensor x = Twins.random(random, 5, 4, k);
      Twins.close("softmax " + k, 3e-7, new long[] {4, k}, (cpu, out) -> cpu.softmax(x, out));
      Tensor target = Ops.of(new int[] {0, k / 2, k - 1, k / 3}, 4);
      Twins.close(
          "loss " + k, 3e-7, new long[] {4}, (cpu, out) -> cpu.crossEntropy(x, target, out));
    }
  }

  @Test
  void softmaxIsSafeForLargeScores() {
    Tensor x = Ops.of(new float[] {1000, 999, -1000, Float.NEGATIVE_INFINITY}, 1, 4);
    double e = Math.exp(-1);
    float[] expected = {(float) (1 / (1 + e)), (float) (e / (1 + e)), 0, 0};
    Twins.close("softmax", 1e-7, expected, Ops.softmax(x).toFloats());
  }

  @ParameterizedTest
  @EnumSource(ReduceOp.class)
  void reduce(ReduceOp op) {
    for (int k : Twins.SIZES) {
      for (int m : new int[] {1, 5, 70}) {
        Tensor x = Twins.random(random, 1, m, k);
        String what = op + " " + m + " x " + k;
        Twins.close(what, 1e-7, new long[] {m}, (cpu, out) -> cpu.reduce(op, Axis.ROWS, x, out));
        Twins.close(what, 1e-7, new long[] {k}, (cpu, out) -> cpu.reduce(op, Axis.COLUMNS, x, out));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(ReduceOp.class)
  void reduceShowsNan(ReduceOp op) {
    Tensor x = Twins.random(random, 1, 40, 40);
    Element.f32(x.segment(), 21 * 40 + 19, Float.NaN);
    for (Axis axis : Axis.values()) {
      float[] result = Ops.reduce(op, axis, x).toFloats();
      for (int i = 0; i < 40; i++) {
        assertEquals(i == (axis == Axis.ROWS ? 21 : 19), Float.isNaN(result[i]), op + " " + i);
      }
    }
  }

  @Test
  void topK() {
    for (int columns : Twins.SIZES) {
      // Few distinct values, so that ties are common.
      Tensor x = Twins.empty(DType.F32, 3, columns);
      for (int i = 0; i < 3 * columns; i++) {
        Element.f32(x.segment(), i, random.nextInt(20));
      }
      for (int k : new int[] {1, 2, 8, 50}) {
        if (k <= columns) {
          checkTopK(x, k);
        }
      }
    }
  }

  private static void checkTopK(Tensor x, int k) {
    Tensor[] values = {Twins.dirty(DType.F32, 3, k), Twins.dirty(DType.F32, 3, k)};
    Tensor[] places = {Twins.dirty(DType.I32, 3, k), Twins.dirty(DType.I32, 3, k)};
    Twins.SCALAR.topK(x, k, values[0], places[0]);
    Twins.VECTOR.topK(x, k, values[1], places[1]);
    assertArrayEquals(values[0].toFloats(), values[1].toFloats());
    assertArrayEquals(places[0].toLongs(), places[1].toLongs());
  }

  @Test
  void topKPutsTiesInOrderOfIndex() {
    Tensor x = Ops.of(new float[] {1, 3, 2, 3, Float.NEGATIVE_INFINITY, 2}, 1, 6);
    Ops.TopK top = Ops.topK(x, 4);
    assertArrayEquals(new float[] {3, 3, 2, 2}, top.values().toFloats());
    assertArrayEquals(new long[] {1, 3, 2, 5}, top.indices().toLongs());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
  void gather(DType dtype) {
    for (int k : Twins.SIZES) {
      Tensor table = Ops.to(Twins.random(random, 2, 9, k), dtype);
      Tensor index = Ops.of(new int[] {8, 0, 3, 3, 5}, 5);
      Twins.same(
          dtype + " " + k,
          DType.F32,
          new long[] {5, k},
          (cpu, out) -> cpu.gatherRows(table, index, out));
    }
  }

  @Test
  void scatterAdd() {
    for (int k : Twins.SIZES) {
      Tensor rows = Twins.random(random, 1, 6, k);
      Tensor weight = Twins.random(random, 1, 6);
      Tensor index = Ops.of(new int[] {2, 0, 2, 3, 2, 0}, 6);
      Tensor start = Twins.random(random, 1, 4, k);
      for (Tensor factor : new Tensor[] {null, weight}) {
        Twins.same(
            "scatter " + k,
            DType.F32,
            new long[] {4, k},
            (cpu, out) -> {
              cpu.copy(start, out);
              cpu.scatterAddRows(rows, index, factor, out);
            });
      }
    }
  }

  @Test
  void indicesOutOfRangeAreReported() {
    Tensor table = Twins.random(random, 1, 5, 4);
    Tensor index = Ops.of(new int[] {0, 5}, 2);
    for (Backend cpu : List.of(Twins.SCALAR, Twins.VECTOR)) {
      Tensor out = Twins.empty(DType.F32, 2, 4);
      assertEquals(
          "index[1] is 5; expected 0 to 4",
          assertThrows(IndexOutOfBoundsException.class, () -> cpu.gatherRows(table, index, out))
              .getMessage());
    }
  }

  @Test
  void rotary() {
    for (int half : new int[] {1, 3, 8, 16, 20, 32, 33, 64}) {
      for (int rest : new int[] {0, 5}) {
        Tensor x = Twins.random(random, 1, 7, 3, 2L * half + rest);
        Tensor cos = Twins.random(random, 1, 7, half);
        Tensor sin = Twins.random(random, 1, 7, half);
        Twins.same(
            half + " + " + rest,
            DType.F32,
            x.shape().toArray(),
            (cpu, out) -> cpu.rotary(x, cos, sin, out));
      }
    }
  }
}
