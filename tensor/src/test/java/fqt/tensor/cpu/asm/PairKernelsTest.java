package fqt.tensor.cpu.asm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PairKernelsTest {
  private static final int COLUMNS = 16;
  private static final int CANARY = 0x5eed5eed;

  @BeforeEach
  void needsAvx2() {
    try {
      assumeTrue(CpuFeatures.detect().avx2(), "no AVX2");
    } catch (ExecutableMemory.Refused refused) {
      abort(refused.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 15, 16, 17, 33, 64})
  void wideTilesAddUpTheirPairs(int depth) throws ExecutableMemory.Refused {
    int stride = depth + 3;
    int pitch = depth + 5;
    WidePairsKernel kernel = new WidePairsKernel(stride);
    Random random = new Random(depth);
    try (Arena arena = Arena.ofConfined()) {
      for (int height : new int[] {1, 2, 3, 4, 5, 6, 7, 31}) {
        MemorySegment a = numbers(arena, random, height * stride);
        MemorySegment b = numbers(arena, random, 2 * pitch * COLUMNS);
        int sums = (height + 2) * COLUMNS;
        MemorySegment c = arena.allocate(ValueLayout.JAVA_INT, 2L * sums);
        int[] expected = new int[2 * sums];
        for (int i = 0; i < 2 * sums; i++) {
          expected[i] = CANARY;
          c.setAtIndex(ValueLayout.JAVA_INT, i, CANARY);
        }
        for (boolean adding : new boolean[] {false, true}) {
          kernel.multiply(
              depth,
              height,
              a.address(),
              b.address(),
              4L * pitch * COLUMNS,
              c.address() + 4L * COLUMNS,
              4L * sums,
              adding,
              b.address());
          for (int strip = 0; strip < 2; strip++) {
            for (int i = 0; i < height * COLUMNS; i++) {
              int sum = 0;
              for (int k = 0; k < depth; k++) {
                int x = (i / COLUMNS) * stride + k;
                sum += product(a, x, b, (strip * pitch + k) * COLUMNS + i % COLUMNS);
              }
              int at = strip * sums + COLUMNS + i;
              expected[at] = adding ? expected[at] + sum : sum;
            }
          }
          for (int i = 0; i < 2 * sums; i++) {
            assertEquals(
                expected[i], c.getAtIndex(ValueLayout.JAVA_INT, i), height + " rows, sum " + i);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 5})
  void rowsAreWidened(int blocks) throws ExecutableMemory.Refused {
    int rows = 3;
    int width = blocks * SpreadKernel.BLOCK;
    int stride = width + 1;
    int pitch = width + 2;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment from = numbers(arena, new Random(blocks), rows * stride);
      MemorySegment to = arena.allocate(ValueLayout.JAVA_SHORT, rows * (long) pitch);
      to.fill((byte) 0x5e);
      new SpreadKernel().spread(blocks, rows, from.address(), stride, to.address(), 2L * pitch);
      for (int row = 0; row < rows; row++) {
        for (int i = 0; i < pitch; i++) {
          int expected =
              i < width ? from.get(ValueLayout.JAVA_BYTE, row * (long) stride + i) : 0x5e5e;
          assertEquals(
              expected, to.getAtIndex(ValueLayout.JAVA_SHORT, row * (long) pitch + i), "at " + i);
        }
      }
    }
  }

  /** Terms of two i16 within the range of bytes, its ends included. */
  private static MemorySegment numbers(Arena arena, Random random, int terms) {
    MemorySegment all = arena.allocate(4L * terms, 64);
    for (int i = 0; i < 2 * terms; i++) {
      int value = random.nextInt(8) == 0 ? -128 : random.nextInt(256) - 128;
      all.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) value);
    }
    return all;
  }

  private static int product(MemorySegment a, int x, MemorySegment b, int w) {
    int sum = 0;
    for (int i = 0; i < 2; i++) {
      sum +=
          a.getAtIndex(ValueLayout.JAVA_SHORT, 2L * x + i)
              * b.getAtIndex(ValueLayout.JAVA_SHORT, 2L * w + i);
    }
    return sum;
  }
}
