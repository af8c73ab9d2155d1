package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.DType;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.NibbleKernel;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is left of x when it has become whole numbers. */
class NibbleTableTest {
  private static final KernelChoice KERNELS = KernelChoice.best();
  private static final int GROUPS = 40;

  /** The largest number of a group: around what two bytes hold, around powers of two, extremes. */
  private static final float[] LARGEST = {
    1,
    0x1.fffffep-1f,
    32639f / 32768,
    32640f / 32768,
    0x1.fep-1f,
    0x1.fcp-1f,
    0x1.fap-1f,
    Float.MAX_VALUE,
    0x1p-59f,
    3e-12f
  };

  @BeforeEach
  void machineCode() {
    assumeTrue(KERNELS.dots() != null, KERNELS.description());
  }

  @ParameterizedTest
  @CsvSource({"32, 2", "64, 2", "128, 2", "32, 3", "64, 3", "128, 3"})
  void numbersAreAsPreciseAsPromised(int group, int digits) {
    Random random = new Random(group + digits);
    Tensor x = TestMatrices.random(random, DType.F32, 2, (long) group * GROUPS);
    for (int k = 0; k < x.count(); k++) {
      float largest = LARGEST[k / group % LARGEST.length];
      float value = Element.f32(x.storage().segment(), x.offset() + k) * largest;
      boolean outlier = k % group == k / group % group;
      Element.f32(
          x.storage().segment(), x.offset() + k, outlier ? Math.copySign(largest, value) : value);
    }
    for (boolean zeros : new boolean[] {false, true}) {
      NibbleKernel kernel = KERNELS.dots().nibbles(group, digits, zeros);
      NibbleTable table = new NibbleTable(kernel, 2, group * GROUPS, 4);
      MemorySegment memory = Arena.ofAuto().allocate(table.bytes(), 64);
      assertTrue(table.fill(Operand.left(x), memory));
      for (int m = 0; m < 2; m++) {
        for (int g = 0; g < GROUPS; g++) {
          check(table, memory, m, g, x);
        }
      }
    }
  }

  private static void check(NibbleTable table, MemorySegment memory, int m, int g, Tensor x) {
    NibbleKernel kernel = table.kernel();
    int group = table.group();
    int lanes = kernel.vectorBytes() / Integer.BYTES;
    MemorySegment bytes = table.row(memory, m).asSlice((long) g * kernel.tableBytes());
    double unit = Element.f32(table.units(memory, m), g);
    for (int row = 1; row < table.blockRows(); row++) {
      assertEquals(unit, Element.f32(table.units(memory, m), row * table.groups() + g));
    }
    long[] sums = new long[lanes];
    double largest = 0;
    for (int k = 0; k < group; k++) {
      largest = Math.max(largest, Math.abs(x.get(m, g * group + k)));
    }
    double part = kernel.digits() == 2 ? 1.01 * 0x1p-15 : 0x1p-22;
    for (int k = 0; k < group; k++) {
      long number = number(kernel, bytes, k);
      assertEquals(x.get(m, g * group + k), number * unit, part * largest, "term " + k);
      sums[k / 8 % lanes] += number;
    }
    long ends = 2L * kernel.digits() * kernel.vectors() * lanes;
    for (int lane = 0; lane < lanes; lane++) {
      int end = bytes.get(Element.INT, (ends + lane) * Integer.BYTES);
      assertEquals(
          kernel.zeros() ? (float) sums[lane] : -8f * sums[lane],
          kernel.zeros() ? Float.intBitsToFloat(end) : end);
    }
  }

  /** One number, from its bytes. */
  private static long number(NibbleKernel kernel, MemorySegment bytes, int k) {
    int vectorBytes = kernel.vectorBytes();
    int vector = k / (2 * vectorBytes);
    int inside = k % (2 * vectorBytes);
    long number = 0;
    for (int digit = 0; digit < kernel.digits(); digit++) {
      int at = 2 * (kernel.digits() * vector + digit) + inside % 2;
      number = 256 * number + bytes.get(Element.BYTE, (long) at * vectorBytes + inside / 2);
    }
    return number;
  }

  @ParameterizedTest
  @CsvSource({"2, NaN", "3, NaN", "2, Infinity", "3, -Infinity"})
  void whatIsNotFiniteIsRefused(int digits, float value) {
    Tensor x = TestMatrices.random(new Random(1), DType.F32, 1, 256);
    Element.f32(x.storage().segment(), x.offset() + 201, value);
    NibbleTable table = new NibbleTable(KERNELS.dots().nibbles(128, digits, false), 1, 256, 4);
    assertFalse(table.fill(Operand.left(x), Arena.ofAuto().allocate(table.bytes(), 64)));
  }
}
