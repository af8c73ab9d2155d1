package fqt.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import fqt.tensor.Axis;
import fqt.tensor.Backend;
import fqt.tensor.DType;
import fqt.tensor.ReduceOp;
import fqt.tensor.Scope;
import fqt.tensor.Tensor;
import fqt.tensor.UnaryOp;
import java.util.Random;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ThreadsTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void everyIterationRunsOnce(int count) {
    Threads threads = new Threads(count);
    for (int total : new int[] {0, 1, 2, 63, 64, 65, 1000}) {
      for (int grain : new int[] {1, 7, 64, 2000}) {
        AtomicIntegerArray runs = new AtomicIntegerArray(total);
        threads.forEach(
            total,
            grain,
            (from, end) -> {
              assertEquals(0, from % grain);
              for (long i = from; i < end; i++) {
                runs.incrementAndGet((int) i);
              }
            });
        for (int i = 0; i < total; i++) {
          assertEquals(1, runs.get(i));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void exceptionsReachTheCaller(int count) {
    Threads threads = new Threads(count);
    IllegalStateException thrown =
        assertThrows(
            IllegalStateException.class,
            () ->
                threads.forEach(
                    100,
                    1,
                    (from, end) -> {
                      if (from == 57) {
                        throw new IllegalStateException("range 57");
                      }
                    }));
    assertEquals("range 57", thrown.getMessage());
    AtomicLong sum = new AtomicLong();
    threads.forEach(100, 1, (from, end) -> sum.addAndGet(from));
    assertEquals(4950, sum.get());
  }

  @Test
  void loopsMayNest() {
    Threads threads = new Threads(3);
    AtomicLong sum = new AtomicLong();
    threads.forEach(
        20, 1, (from, end) -> threads.forEach(10, 1, (i, j) -> sum.addAndGet(from * 10 + i)));
    assertEquals(19900, sum.get());
  }

  /** Sizes large enough that two and three threads do share the work. */
  @Test
  void bitsDoNotDependOnTheNumberOfThreads() {
    try (Scope scope = Scope.open()) {
      Tensor x = Twins.random(new Random(23), 1, 400, 700);
      Tensor weight = Twins.random(new Random(29), 1, 700);
      long[] dims = {400, 700};
      same(dims, (cpu, out) -> cpu.unary(UnaryOp.GELU, x, out));
      same(dims, (cpu, out) -> cpu.rmsNorm(x, weight, 1e-6f, out));
      same(dims, (cpu, out) -> cpu.layerNorm(x, weight, weight, 1e-6f, out));
      same(dims, (cpu, out) -> cpu.softmax(x, out));
      same(new long[] {400}, (cpu, out) -> cpu.reduce(ReduceOp.SUM, Axis.ROWS, x, out));
      same(new long[] {700}, (cpu, out) -> cpu.reduce(ReduceOp.SUM, Axis.COLUMNS, x, out));
      same(new long[] {700, 400}, (cpu, out) -> cpu.copy(x.transpose(0, 1), out));
    }
  }

  private static void same(long[] dims, BiConsumer<Backend, Tensor> operation) {
    Tensor expected = Twins.dirty(DType.F32, dims);
    operation.accept(Twins.vector(1), expected);
    for (int threads = 2; threads <= 3; threads++) {
      Tensor out = Twins.dirty(DType.F32, dims);
      operation.accept(Twins.vector(threads), out);
      assertArrayEquals(Twins.bytes(expected), Twins.bytes(out));
    }
  }
}
