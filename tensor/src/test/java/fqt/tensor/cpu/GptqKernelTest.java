package fqt.tensor.cpu;

import static fqt.tensor.cpu.TestMatrices.assertSameBits;
import static fqt.tensor.cpu.TestMatrices.assertSurroundingsIntact;
import static fqt.tensor.cpu.TestMatrices.copy;
import static fqt.tensor.cpu.TestMatrices.empty;
import static fqt.tensor.cpu.TestMatrices.random;
import static fqt.tensor.cpu.TestMatrices.size;
import static org.junit.jupiter.api.Assertions.assertEquals;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;

class GptqKernelTest {
  private final Threads threads = new Threads(2);

  @Test
  void codesValuesAndErrorsEqualTheTwinBitForBit() {
    Random random = new Random(1);
    for (int i = 0; i < 60; i++) {
      int rows = size(random);
      int width = Math.min(129, size(random));
      int bits = new int[] {2, 3, 4, 8}[i % 4];
      Tensor w = random(random, DType.F32, rows, width);
      Tensor u = random(random, DType.F32, width, width);
      Tensor scale = random(random, DType.F32, rows, width);
      Tensor zero = empty(DType.F32, rows, width);
      for (long j = 0; j < (long) rows * width; j++) {
        nudge(scale, j, bits);
        Element.f32(zero.storage().segment(), zero.offset() + j, random.nextInt(1 << bits));
      }
      check(w, u, scale, zero, (1 << bits) - 1);
    }
  }

  /** Makes a scale positive and of the size that codes of so many bits want. */
  private static void nudge(Tensor scale, long index, int bits) {
    long at = scale.offset() + index;
    float value = Element.f32(scale.storage().segment(), at);
    Element.f32(scale.storage().segment(), at, (Math.abs(value) + 0.5f) / (1 << bits - 1));
  }

  @Test
  void extremesSaturateAndNotANumberBecomesTheZeroPoint() {
    Tensor w = empty(DType.F32, 1, 6);
    float[] values = {
      Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 3e38f, -3e38f, 0
    };
    FloatRuns.write(values, 0, 6, w.storage().segment(), w.offset());
    Tensor u = empty(DType.F32, 6, 6);
    Tensor scale = empty(DType.F32, 1, 6);
    Tensor zero = empty(DType.F32, 1, 6);
    for (int i = 0; i < 36; i++) {
      Element.f32(u.storage().segment(), u.offset() + i, i % 7 == 0 ? 1 : 0);
    }
    for (int i = 0; i < 6; i++) {
      Element.f32(scale.storage().segment(), scale.offset() + i, 1e-3f);
      Element.f32(zero.storage().segment(), zero.offset() + i, 8);
    }
    // A zero in u times an infinite error would reach the columns after it: one column at a time.
    for (int i = 0; i < 6; i++) {
      Tensor codes = empty(DType.U8, 1, 1);
      Tensor column = copy(w.slice(1, i, i + 1));
      GptqKernel.run(
          threads,
          column,
          u.slice(0, 0, 1).slice(1, 0, 1),
          scale.slice(1, 0, 1),
          zero.slice(1, 0, 1),
          15,
          codes,
          empty(DType.F32, 1, 1));
      assertEquals(new int[] {8, 15, 0, 15, 0, 8}[i], codes.get(0, 0), "of " + values[i]);
    }
  }

  private void check(Tensor w, Tensor u, Tensor scale, Tensor zero, float high) {
    long rows = w.dim(0);
    long width = w.dim(1);
    Tensor twin = copy(w);
    Tensor twinCodes = empty(DType.U8, rows, width);
    Tensor twinError = empty(DType.F32, rows, width);
    ScalarMatrix.gptqBlock(twin, u, scale, zero, high, twinCodes, twinError);
    Tensor codes = empty(DType.U8, rows, width);
    Tensor error = empty(DType.F32, rows, width);
    GptqKernel.run(threads, w, u, scale, zero, high, codes, error);
    String what = w + " high " + high;
    assertSameBits(twinCodes, codes, "codes of " + what);
    assertSameBits(twin, w, "values of " + what);
    assertSameBits(twinError, error, "errors of " + what);
    assertSurroundingsIntact(w);
    assertSurroundingsIntact(codes);
    assertSurroundingsIntact(error);
  }
}
