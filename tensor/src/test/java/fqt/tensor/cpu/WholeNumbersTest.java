package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import fqt.tensor.DType;
import fqt.tensor.PackedWeight;
import fqt.tensor.Shape;
import fqt.tensor.Tensor;
import fqt.tensor.cpu.asm.CodeLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is left of x when it has become whole numbers. */
class WholeNumbersTest {
  private static final KernelChoice KERNELS = KernelChoice.best();
  private static final int ROWS = 2;

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
    3e-12f,
    0x1p-140f,
    0
  };

  private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16};

  @BeforeEach
  void machineCode() {
    assumeTrue(KERNELS.machine() != null, KERNELS.description());
  }

  @ParameterizedTest
  @CsvSource({
    "4, 32, 2", "4, 64, 2", "4, 128, 2", "4, 32, 3", "4, 64, 3", "4, 128, 3",
    "8, 32, 2", "8, 64, 2", "8, 128, 2", "8, 32, 3", "8, 64, 3", "8, 128, 3"
  })
  void equalTheirTwinAndAreAsPreciseAsPromised(int codeBits, int group, int digits) {
    Random random = new Random(group + digits);
    int groups = 1;
    for (DType type : TYPES) {
      for (boolean zeros : new boolean[] {false, true}) {
        for (int more = 1; more <= 3; more++) {
          groups = groups % 41 + more;
          CodeKernels kernels = kernels(codeBits, group, digits, zeros);
          try (GuardedPages pages = new GuardedPages()) {
            Tensor x = pages.copy(numbers(random, type, group, groups));
            check(kernels, pages, x, groups);
          }
        }
      }
    }
  }

  private static CodeKernels kernels(int codeBits, int group, int digits, boolean zeros) {
    Tensor codes = TestMatrices.bytes(new Random(1), 1, (long) group * codeBits / 8);
    Tensor words = Tensor.of(codes.segment(), DType.I32, Shape.of(1, group * codeBits / 32));
    Tensor scale = TestMatrices.empty(DType.F32, 1, 1);
    Tensor zero = zeros ? TestMatrices.empty(DType.U8, 1, 1) : null;
    PackedWeight w = new PackedWeight(codeBits, group, group, words, scale, zero, null);
    return KERNELS.machine().dots().codes(w, digits);
  }

  /** Random numbers with an outlier in each group, or none. */
  private static Tensor numbers(Random random, DType type, int group, int groups) {
    Tensor x = TestMatrices.random(random, DType.F32, ROWS, (long) group * groups);
    Tensor typed = TestMatrices.empty(type, ROWS, (long) group * groups);
    int shift = random.nextInt(LARGEST.length);
    for (int k = 0; k < x.count(); k++) {
      float largest = LARGEST[(k / group + shift) % LARGEST.length];
      float value = Element.f32(x.storage().segment(), x.offset() + k) * largest;
      boolean outlier = k % group == k / group % group;
      float number = outlier ? Math.copySign(largest, value) : value;
      Element.setFloat(typed.storage().segment(), type, typed.offset() + k, number);
      if (!Float.isFinite(Element.getFloat(typed.storage().segment(), type, typed.offset() + k))) {
        Element.setFloat(typed.storage().segment(), type, typed.offset() + k, 65504);
      }
    }
    return typed;
  }

  private static void check(CodeKernels kernels, GuardedPages pages, Tensor x, int groups) {
    CodeLayout layout = kernels.layout();
    Tensor room = TestMatrices.empty(DType.U8, 1, WholeNumbers.bytes(layout, ROWS, groups));
    MemorySegment memory = pages.copy(room).segment();
    memory.fill((byte) -1);
    WholeNumbers numbers = new WholeNumbers(layout, ROWS, groups, memory);
    assertTrue(numbers.fill(kernels, Operand.left(x)));
    for (int m = 0; m < ROWS; m++) {
      MemorySegment table = memory.asSlice(numbers.table(m) - memory.address());
      MemorySegment units = memory.asSlice(numbers.units(m) - memory.address());
      for (int g = 0; g < groups; g++) {
        float[] line = new float[layout.group()];
        for (int k = 0; k < line.length; k++) {
          line[k] = (float) x.get(m, (long) g * line.length + k);
        }
        ScalarWholeNumbers twin = new ScalarWholeNumbers(layout, line);
        String what = layout + " " + x + ", group " + g;
        byte[] bytes =
            table
                .asSlice((long) g * layout.tableBytes(), layout.tableBytes())
                .toArray(ValueLayout.JAVA_BYTE);
        assertArrayEquals(twin.table(), bytes, what);
        assertEquals(twin.unit(), Element.f32(units, g), what);
        if (layout.hasStarts()) {
          assertEquals(twin.sum(), Element.f32(units, numbers.sumsAt() / Float.BYTES + g), what);
        }
        checkPrecision(layout, bytes, twin.unit(), line);
      }
      for (int g = groups; g < groups + CodeLayout.BLOCK; g++) {
        assertEquals(0, Element.f32(units, g));
      }
    }
  }

  private static void checkPrecision(CodeLayout layout, byte[] table, double unit, float[] x) {
    double largest = 0;
    for (float value : x) {
      largest = Math.max(largest, Math.abs(value));
    }
    double part = layout.digits() == 2 ? 1.01 * 0x1p-15 : 0x1p-22;
    double least = Math.max(largest, 0x1p-61);
    for (int k = 0; k < x.length; k++) {
      assertEquals(x[k], number(layout, table, k) * unit, part * least, "term " + k);
    }
  }

  /** One number, from its bytes. */
  private static long number(CodeLayout layout, byte[] table, int k) {
    int vectorBytes = layout.vectorBytes();
    long number = 0;
    if (layout.codeBits() == 8) {
      int each = vectorBytes / Short.BYTES;
      for (int part = 0; part < layout.parts(); part++) {
        int at = (k / each * layout.parts() + part) * vectorBytes + k % each * Short.BYTES;
        number = 2048 * number + (short) (table[at] & 0xff | table[at + 1] << 8);
      }
      return number;
    }
    int vector = k / (2 * vectorBytes);
    int inside = k % (2 * vectorBytes);
    for (int digit = 0; digit < layout.digits(); digit++) {
      int at = 2 * (layout.digits() * vector + digit) + inside % 2;
      number = 256 * number + table[at * vectorBytes + inside / 2];
    }
    return number;
  }

  @ParameterizedTest
  @CsvSource({"2, NaN", "3, NaN", "2, Infinity", "3, -Infinity"})
  void whatIsNotFiniteIsRefused(int digits, float value) {
    Tensor x = TestMatrices.random(new Random(1), DType.F32, 1, 256);
    for (int codeBits = 4; codeBits <= 8; codeBits += 4) {
      CodeKernels kernels = kernels(codeBits, 128, digits, false);
      Element.f32(x.storage().segment(), x.offset() + 201, value);
      long bytes = WholeNumbers.bytes(kernels.layout(), 1, 2);
      MemorySegment memory = TestMatrices.empty(DType.U8, 1, bytes).segment();
      WholeNumbers numbers = new WholeNumbers(kernels.layout(), 1, 2, memory);
      assertFalse(numbers.fill(kernels, Operand.left(x)));
      Element.f32(x.storage().segment(), x.offset() + 201, 3);
      assertTrue(numbers.fill(kernels, Operand.left(x)));
    }
  }
}
