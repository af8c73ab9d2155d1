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
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class GptqKernelTest {
  private static final RowKernels MACHINE = KernelChoice.best().rows();

  private final Threads threads = new Threads(2);

  /** By machine code, where it runs, and by the Vector API. */
  static Stream<RowKernels> tiers() {
    return Stream.of(MACHINE, null).distinct();
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void codesValuesAndErrorsEqualTheTwinBitForBit(RowKernels machine) {
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
      check(machine, w, u, scale, zero, (1 << bits) - 1);
    }
  }

  /** As the solver calls it: a part of the columns, scales by columns, few rows with a NaN. */
  @ParameterizedTest
  @MethodSource("tiers")
  void slicesAndRowsThatHoldNoNumbers(RowKernels machine) {
    Random random = new Random(2);
    float[] special = {Float.NaN, Float.POSITIVE_INFINITY, Float.MAX_VALUE, 0, -0f};
    for (int width : new int[] {1, 4, 8, 20, 32, 64, 96, 128, 160}) {
      for (int rows : new int[] {1, 8, 47, 48, 49, 104}) {
        Tensor w = random(random, DType.F32, rows, width + 40).slice(1, 24, 24 + width);
        Tensor u = random(random, DType.F32, width + 3, width + 8).slice(0, 3, width + 3);
        Tensor scale = random(random, DType.F32, width, rows).transpose(0, 1);
        Tensor zero = empty(DType.F32, width, rows).transpose(0, 1);
        for (long i = 0; i < (long) rows * width; i++) {
          nudge(scale, i, 4);
          Element.f32(zero.storage().segment(), zero.offset() + i, random.nextInt(16));
        }
        for (float value : special) {
          long at = random.nextInt(rows) * w.stride(0) + random.nextInt(width);
          Element.f32(w.storage().segment(), w.offset() + at, value);
        }
        check(machine, w, u.slice(1, 0, width), scale, zero, 15);
      }
    }
  }

  /** Nothing is read or written behind the end. */
  @ParameterizedTest
  @MethodSource("tiers")
  void memoryBehindTheEndIsLeftAlone(RowKernels machine) {
    Random random = new Random(3);
    for (int width : new int[] {1, 7, 8, 31, 32, 128}) {
      for (int rows : new int[] {1, 8, 48, 50, 56}) {
        try (GuardedPages pages = new GuardedPages()) {
          Tensor w = pages.copy(random(random, DType.F32, rows, width));
          Tensor u = pages.copy(random(random, DType.F32, width, width));
          Tensor scale = pages.copy(empty(DType.F32, rows, width));
          Tensor zero = pages.copy(empty(DType.F32, rows, width));
          ScalarCopy.fill(scale, 0.1);
          ScalarCopy.fill(zero, 8);
          Tensor twin = copy(w);
          Tensor[] twins = {empty(DType.U8, rows, width), empty(DType.F32, rows, width)};
          Tensor codes = pages.copy(twins[0]);
          Tensor error = pages.copy(twins[1]);
          ScalarMatrix.gptqBlock(twin, u, scale, zero, 15, twins[0], twins[1]);
          GptqKernel.run(threads, machine, w, u, scale, zero, 15, codes, error);
          String what = rows + " x " + width;
          assertSameBits(twins[0], codes, "codes of " + what);
          assertSameBits(twin, w, "values of " + what);
          assertSameBits(twins[1], error, "errors of " + what);
        }
      }
    }
  }

  /** Makes a scale positive and of the size that codes of so many bits want. */
  private static void nudge(Tensor scale, long index, int bits) {
    long at = scale.offset() + index;
    float value = Element.f32(scale.storage().segment(), at);
    Element.f32(scale.storage().segment(), at, (Math.abs(value) + 0.5f) / (1 << bits - 1));
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void extremesSaturateAndNotANumberBecomesTheZeroPoint(RowKernels machine) {
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
          machine,
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

  private void check(
      RowKernels machine, Tensor w, Tensor u, Tensor scale, Tensor zero, float high) {
    long rows = w.dim(0);
    long width = w.dim(1);
    Tensor twin = copy(w);
    Tensor twinCodes = empty(DType.U8, rows, width);
    Tensor twinError = empty(DType.F32, rows, width);
    ScalarMatrix.gptqBlock(twin, u, scale, zero, high, twinCodes, twinError);
    Tensor codes = empty(DType.U8, rows, width);
    Tensor error = empty(DType.F32, rows, width);
    GptqKernel.run(threads, machine, w, u, scale, zero, high, codes, error);
    String what = w + " high " + high;
    assertSameBits(twinCodes, codes, "codes of " + what);
    assertSameBits(twin, w, "values of " + what);
    assertSameBits(twinError, error, "errors of " + what);
    assertSurroundingsIntact(w);
    assertSurroundingsIntact(codes);
    assertSurroundingsIntact(error);
  }
}
